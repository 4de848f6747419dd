// Answers that are far too large: the client reads up to its limit and no further, whatever they are made of. How much
// it read is measured by how much the server could send.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import type { ModelFailure } from '../../src/domain/failure.ts';
import { Flood, type FloodOptions, gzipBomb, IN_FLIGHT_MAX_BYTES } from '../fakes/flood.ts';
import { startClient } from '../fakes/model-client.ts';

const READ_MAX_BYTES = 16 * 1024 * 1024;
const TOTAL_BYTES = 100 * 1024 * 1024;
const TEXT = 'x'.repeat(64 * 1024);
const TOO_LARGE = { class: 'ambiguous', code: 'generation_invalid', message: /size limit/ };

/** What a server may send that never stops, and how the call ends. */
const floods: Readonly<Record<string, readonly [Omit<FloodOptions, 'totalBytes'>, object]>> = {
  'a stream of many pieces': [
    { piece: `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: TEXT } }] })}\n\n` },
    TOO_LARGE,
  ],
  'a document': [
    {
      opening: '{"choices":[{"index":0,"message":{"content":"',
      piece: TEXT,
      closing: '"},"finish_reason":"stop"}]}',
    },
    TOO_LARGE,
  ],
  comments: [{ piece: ': still here\n\n'.repeat(1000) }, TOO_LARGE],
  'one line': [{ opening: 'data: ', piece: TEXT }, TOO_LARGE],
  'one event of many lines': [{ piece: 'data:\n'.repeat(1000) }, TOO_LARGE],
  'white space': [{ piece: ' '.repeat(64 * 1024) }, TOO_LARGE],
  brackets: [{ piece: '['.repeat(64 * 1024) }, TOO_LARGE],
  'a web page': [{ opening: '<html>', piece: TEXT, headers: { 'content-type': 'text/html' } }, TOO_LARGE],
  binary: [{ piece: '\u0000\ufffd\u0001'.repeat(10_000) }, TOO_LARGE],
  'the words of an error': [
    { piece: TEXT, status: 500 },
    { class: 'ambiguous', code: 'generation_failed' },
  ],
  'the words of a refusal': [
    { piece: TEXT, status: 400 },
    { class: 'request', code: 'generation_rejected' },
  ],
};

function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().heapUsed;
}

for (const [name, [options, expected]] of Object.entries(floods)) {
  t.test(`reads no more than its limit of ${name}`, async (t) => {
    const { server, failure } = await startClient(t);
    const flood = new Flood({ ...options, totalBytes: TOTAL_BYTES });
    const outcome = await failure(flood.behaviour);
    t.match(outcome, expected);
    t.ok(outcome.message.length < 400, 'says little of it');
    t.ok(flood.sentBytes < READ_MAX_BYTES + IN_FLIGHT_MAX_BYTES, `${flood.sentBytes} bytes could be sent`);
    await server.until(() => server.connections === 0);
  });
}

t.test('an answer of just under the limit is one', async (t) => {
  const { server, call } = await startClient(t);
  const { piece } = floods['a stream of many pieces']?.[0] ?? { piece: '' };
  const closing = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n';
  const flood = new Flood({ piece, closing, totalBytes: 15 * 1024 * 1024 });
  server.respond(flood.behaviour);
  const outcome = await call();
  t.match(outcome, { kind: 'success', finishReason: 'length' });
  t.equal(
    outcome.kind === 'success' && outcome.answer.length,
    (flood.sentBytes / piece.length) * TEXT.length,
  );
});

t.test('nothing is unpacked that was not asked for packed', async (t) => {
  const { server, failure } = await startClient(t);
  const outcome = await failure(gzipBomb());
  t.match(outcome, { class: 'ambiguous', code: 'generation_invalid' });
  t.equal(server.requests[0]?.headers['accept-encoding'], undefined);
  t.notMatch(outcome.message, /[\p{C}]/u);
});

t.test('of the many words of an error only the few that are repeated stay in memory', async (t) => {
  const { failure } = await startClient(t);
  const kept: ModelFailure[] = [];
  const before = heapBytes();
  for (let index = 0; index < 15; index += 1) {
    const body = { error: { message: `${index}${'x'.repeat(4 * 1024 * 1024)}` } };
    kept.push(await failure({ kind: 'status', status: 200, body }));
  }
  t.ok(heapBytes() - before < 20 * 1024 * 1024);
  t.ok(kept.every(({ message }, index) => message.includes(`${index}xxx`) && message.length < 400));
});

t.test('the list of models has a limit too', async (t) => {
  const { server, client } = await startClient(t);
  const list = () => client.listModels({ endpointUrl: server.url, apiKey: null, timeoutMs: 60_000 });
  server.modelsAnswer = `{"data":[{"id":"${'x'.repeat(20 * 1024 * 1024)}"}]}`;
  t.match(await list(), { kind: 'failure', class: 'ambiguous', code: 'generation_invalid' });
  server.modelsAnswer = '['.repeat(1_000_000);
  t.match(await list(), { kind: 'failure', class: 'ambiguous', code: 'generation_invalid' });
});
