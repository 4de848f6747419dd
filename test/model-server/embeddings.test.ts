// Embeddings over real sockets: what counts as an answer, in which order, and what everything else is called.

import t from 'tap';
import { embeddingsAddress } from '../../src/model-server/embeddings-address.ts';
import { type EmbeddingsCall, ModelServerClient } from '../../src/model-server/model-server-client.ts';
import { systemClock } from '../../src/time.ts';
import { refusal, startFakeEmbeddingServer } from '../fakes/fake-embedding-server.ts';

const apiKey = 'sk-secret-0123456789';
const texts = ['moving ice', 'a starter of flour', 'birds and stars'];

const server = await startFakeEmbeddingServer(t);
const client = new ModelServerClient(systemClock);
t.teardown(() => client.close());
t.beforeEach(() => {
  server.respond(() => null);
});

function ask(changes: Partial<EmbeddingsCall> = {}, signal?: AbortSignal) {
  const url = embeddingsAddress(server.url);
  const call = { url, apiKey, model: 'm', texts, encoding: 'base64', timeoutMs: 60_000, ...changes } as const;
  return client.embeddings(call, signal);
}

t.test('asks as OpenAI wants to be asked', async (t) => {
  await ask();
  const request = server.requests.at(-1);
  t.match(request, { path: '/v1/embeddings', model: 'm', texts, encoding: 'base64' });
  t.match(request?.headers, { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' });
});

t.test('finds the route in whatever is given as the address', async (t) => {
  const routes = {
    'http://a:1': 'http://a:1/v1/embeddings',
    'http://a:1/': 'http://a:1/v1/embeddings',
    'http://a:1/v1': 'http://a:1/v1/embeddings',
    'http://a:1/v1/': 'http://a:1/v1/embeddings',
    'https://a/compatible-mode/v1': 'https://a/compatible-mode/v1/embeddings',
    'https://a/v4/embeddings': 'https://a/v4/embeddings',
    'https://a/deployments/x/embeddings?api-version=2': 'https://a/deployments/x/embeddings?api-version=2',
  };
  for (const [given, route] of Object.entries(routes)) t.equal(embeddingsAddress(given), route);
});

t.test('reads base64 and lists of numbers alike', async (t) => {
  const [base64, float] = [await ask(), await ask({ encoding: 'float' })];
  t.strictSame(base64, float);
  t.strictSame(base64, {
    kind: 'embeddings',
    model: 'words-1',
    vectors: texts.map((text) => server.vectorOf(text)),
  });
});

t.test('brings the vectors into the order of the texts', async (t) => {
  const expected = texts.map((text) => server.vectorOf(text));
  server.respond(() => ({ kind: 'items', bend: (items) => items.toReversed() }));
  t.match(await ask(), { vectors: expected });
  server.respond(() => ({ kind: 'items', bend: (items) => items.map(({ embedding }) => ({ embedding })) }));
  t.match(await ask(), { vectors: expected }, 'without an index they stand in order');
});

t.test('keeps what is no number as NaN, in JSON and in what Python writes for it', async (t) => {
  server.respond(() => ({
    kind: 'text',
    text: '{"data":[{"index":0,"embedding":[null,1.5,NaN,-Infinity]}]}',
  }));
  const outcome = await ask({ texts: ['x'] });
  t.ok(outcome.kind === 'embeddings' && outcome.model === null);
  if (outcome.kind === 'embeddings') {
    t.same([...(outcome.vectors[0] ?? [])], [Number.NaN, 1.5, Number.NaN, Number.NaN]);
  }
});

t.test('what is no list of vectors is an invalid answer', async (t) => {
  const bent: Record<string, unknown> = {
    'one too few': [{ index: 0, embedding: [1] }],
    'an index twice': [0, 1, 1].map((index) => ({ index, embedding: [1] })),
    'an index out of range': [0, 1, 3].map((index) => ({ index, embedding: [1] })),
    'no vector': [0, 1, 2].map((index) => ({ index, embedding: { a: 1 } })),
    'half a number': [0, 1, 2].map((index) => ({ index, embedding: 'AAAA' })),
    nothing: null,
  };
  for (const [what, items] of Object.entries(bent)) {
    server.respond(() => ({ kind: 'items', bend: () => items }));
    t.match(await ask(), { kind: 'failure', class: 'ambiguous', code: 'generation_invalid' }, what);
  }
  server.respond(() => ({ kind: 'text', text: '<html>Welcome to the proxy</html>' }));
  t.match(await ask(), { class: 'ambiguous', message: /Welcome to the proxy/ });
});

t.test('failures have the classes of all model servers, and never repeat the key', async (t) => {
  const cases = [
    [refusal(401, `wrong key ${apiKey}`), { class: 'misconfigured', message: /\*\*\*/ }],
    [refusal(404, 'model "m" not found, try pulling it first'), { class: 'misconfigured' }],
    [refusal(400, 'maximum context length is 512 tokens'), { class: 'request' }],
    [refusal(413, 'batch size 64 > maximum allowed batch size 32'), { class: 'request' }],
    [refusal(422, 'Tokenization error'), { class: 'request' }],
    // llama.cpp, for a text over its physical batch size.
    [
      refusal(500, 'input (992 tokens) is too large to process. increase the physical batch size'),
      { class: 'request' },
    ],
    [refusal(500, 'input is larger than the max context size. skipping'), { class: 'request' }],
    // Text Embeddings Inference, when its engine failed.
    [refusal(424, 'Inference failed'), { class: 'ambiguous', code: 'generation_failed' }],
    [refusal(500, 'boom'), { class: 'ambiguous', code: 'generation_failed' }],
    [refusal(502, 'bad gateway'), { class: 'hard' }],
    [
      { kind: 'status', status: 429, headers: { 'retry-after': '7' } },
      { class: 'overload', retryAfterMs: 7_000 },
    ],
    [{ kind: 'text', text: '{"error":{"message":"overloaded","code":503}}' }, { class: 'overload' }],
    [{ kind: 'cut' }, { class: 'ambiguous', code: 'generation_invalid' }],
    [{ kind: 'reset' }, { class: 'hard' }],
  ] as const;
  for (const [behaviour, expected] of cases) {
    server.respond(() => behaviour);
    const outcome = await ask();
    t.match(outcome, { kind: 'failure', ...expected }, JSON.stringify(behaviour));
    t.notMatch(JSON.stringify(outcome), apiKey);
  }
});

t.test('has an end of its own, and ends with its signal', async (t) => {
  server.respond(() => ({ kind: 'hang' }));
  t.match(await ask({ timeoutMs: 30 }), { class: 'ambiguous', code: 'generation_timeout' });
  const cancelling = new AbortController();
  server.respond(() => {
    cancelling.abort();
    return { kind: 'hang' };
  });
  t.match(await ask({}, cancelling.signal), { class: 'cancelled' });
  t.match(await ask({}, AbortSignal.abort()), { class: 'cancelled' });
});
