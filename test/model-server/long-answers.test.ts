// An answer that takes longer than undici would wait: its default timeouts of 300 s must not apply to model servers. The
// hours are those of undici's own clock, which its tests can turn; the control shows that the defaults would strike.

import { createRequire } from 'node:module';
import t from 'tap';
import { Agent } from 'undici';
import { startClient } from '../fakes/model-client.ts';

/** Since undici rounds and sets its timers going late, two turns make sure that so much has passed for all of them. */
interface UndiciTimers {
  tick(milliseconds: number): void;
}
const timers: UndiciTimers = createRequire(import.meta.url)('undici/lib/util/timers.js');

function passAnHour(): void {
  timers.tick(0);
  timers.tick(3_600_000);
}

t.test('an answer may take hours to begin, and to go on', async (t) => {
  const { server, call } = await startClient(t);
  server.respond({ kind: 'answer', hold: true, text: 'at last' });
  const plain = new Agent();
  t.teardown(() => plain.destroy());
  const request = { origin: server.url, path: '/v1/chat/completions', method: 'POST', body: '{}' } as const;
  const impatient = plain.request(request);
  const patient = call();
  await server.until(() => server.inFlight === 2);
  passAnHour();
  await t.rejects(impatient, { code: 'UND_ERR_HEADERS_TIMEOUT' }, 'the control');
  server.release();
  t.match(await patient, { kind: 'success', answer: 'at last' });

  server.respond({ kind: 'answer', pieces: 4, breakAfter: 2, breakWith: 'stall', document: false });
  const stream = JSON.stringify({ model: 'm', messages: [], stream: true });
  const half = await plain.request({ ...request, body: stream });
  const impatientText = half.body.text();
  const controller = new AbortController();
  let isOver = false;
  const stalled = call({}, controller.signal).finally(() => {
    isOver = true;
  });
  await server.until(() => server.inFlight === 2);
  passAnHour();
  await t.rejects(impatientText, { code: 'UND_ERR_BODY_TIMEOUT' }, 'the control');
  t.notOk(isOver);
  controller.abort();
  t.match(await stalled, { class: 'cancelled' });
});
