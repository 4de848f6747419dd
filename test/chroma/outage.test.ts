// An outage leaves nothing behind when it has passed.

import pino from 'pino';
import t from 'tap';
import { Outage, type OutageCause } from '../../src/chroma/outage.ts';
import { systemClock } from '../../src/time.ts';
import { until } from '../fakes/until.ts';

t.test('the clock of an outage that has passed is stopped', async (t) => {
  let cause: OutageCause | null = { dependency: 'chroma', message: 'away' };
  let sleeping = 0;
  const sleep = async (ms: number, signal?: AbortSignal) => {
    sleeping += 1;
    // Probes come at once; what is longer lasts until it is ended.
    const limit = ms > 10_000 ? ms : 1;
    await systemClock.sleep(limit, signal).finally(() => {
      sleeping -= 1;
    });
  };
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const outage = new Outage({
    probe: async () => cause,
    maxWaitMs: 600_000,
    clock: { ...systemClock, sleep },
    log: pino({ level: 'silent' }),
    signal: stop.signal,
  });
  t.equal(await outage.isToBlame(), true);
  cause = null;
  await outage.passed();
  t.equal(outage.cause, null);
  await until('nothing to be left', () => sleeping === 0, 5_000);
});
