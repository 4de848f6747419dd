import fc from 'fast-check';
import t from 'tap';
import { fullJitterMs, systemClock, unixSeconds } from '../src/time.ts';
import { ManualClock } from './fakes/manual-clock.ts';

t.test('the jitter stays below its growing cap, and uses all of it', async (t) => {
  const most = (attempt: number) => fullJitterMs(attempt, 100, 10_000, () => 1);
  t.same([0, 1, 2, 6, 7, 8, 2000].map(most), [100, 200, 400, 6_400, 10_000, 10_000, 10_000]);
  t.equal(
    fullJitterMs(3, 100, 10_000, () => 0),
    0,
  );
  fc.assert(
    fc.property(fc.nat(5_000), fc.integer({ min: 1, max: 1_000 }), (attempt, base) => {
      const wait = fullJitterMs(attempt, base, 30_000);
      return wait >= 0 && wait <= Math.min(30_000, base * 2 ** attempt);
    }),
  );
});

t.test('stamps are whole seconds', async (t) => {
  t.equal(unixSeconds(new ManualClock(1_700_000_000_999)), 1_700_000_000);
  t.ok(Number.isInteger(unixSeconds(systemClock)));
});

t.test('a sleep ends with its signal, before and during', async (t) => {
  const reason = new Error('stop');
  const ending = (sleeping: Promise<void>) => sleeping.catch((error) => error);
  t.equal(await ending(systemClock.sleep(1_000_000, AbortSignal.abort(reason))), reason);
  const controller = new AbortController();
  const sleeping = systemClock.sleep(1_000_000, controller.signal);
  controller.abort(reason);
  t.equal(await ending(sleeping), reason);
  await systemClock.sleep(0);
});

t.test('a duration does not run backwards', async (t) => {
  const before = systemClock.monotonicMs();
  await systemClock.sleep(1);
  t.ok(systemClock.monotonicMs() >= before);
});
