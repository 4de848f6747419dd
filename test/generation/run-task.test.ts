import t, { type Test } from 'tap';
import type { GenerationTask } from '../../src/domain/generation.ts';
import type { ServerKind } from '../../src/domain/server-kind.ts';
import { runTask } from '../../src/generation/run-task.ts';
import { ollamaAnswer } from '../fakes/fake-ollama.ts';
import { generationTask } from '../fakes/generation-task.ts';
import { startClient } from '../fakes/model-client.ts';

const CONTEXT_TOKENS = 4_096;
const WORDS = 'The mill has twelve wheels, and each of them turns a stone of its own. ';

async function setup(t: Test) {
  const { server, client } = await startClient(t);
  const run = (changes: Partial<GenerationTask> = {}) =>
    runTask(
      generationTask(server.url, { serverKind: 'ollama', contextTokens: CONTEXT_TOKENS, ...changes }),
      client,
      new AbortController().signal,
    );
  return { server, run };
}

function passages(count: number) {
  const passage = { chunk: 0, title: null, source: null, text: WORDS.repeat(16), distance: 0 };
  return Array.from({ length: count }, (_, index) => ({ ...passage, documentId: `d${index}` }));
}

/** Of a model whose tokens are thought to be so large that nothing seems too long. */
const UNAWARE = { bytesPerToken: 100 };

t.test('tells when Ollama has cut the prompt, and when it has not', async (t) => {
  const { server, run } = await setup(t);
  for (const cutTo of ['context', 'half'] as const) {
    server.respond(ollamaAnswer(CONTEXT_TOKENS, cutTo));
    t.match(await run({ ...UNAWARE, passages: passages(3) }), { kind: 'success', isContextTruncated: false });
    t.match(await run({ ...UNAWARE, passages: passages(30) }), { kind: 'success', isContextTruncated: true });
  }
});

t.test('also when a line of its own shape lost the message with its passages', async (t) => {
  const { server, run } = await setup(t);
  server.respond(ollamaAnswer(CONTEXT_TOKENS));
  const messages = [{ role: 'user', content: 'How many wheels?' }];
  const request = {
    shape: 'openai',
    url: '/v1/chat/completions',
    query: 'How many wheels?',
    body: { messages },
  } as const;
  t.match(await run({ ...UNAWARE, request, passages: passages(30) }), { isContextTruncated: true });
  t.match(await run({ request, passages: passages(3) }), { isContextTruncated: false });
});

t.test(
  'the hash of a prompt does not depend on the id of the request or the kind of the server',
  async (t) => {
    const { run } = await setup(t);
    const kinds: ServerKind[] = ['sglang', 'sglang', 'vllm'];
    const hashes = new Set<unknown>();
    for (const [index, serverKind] of kinds.entries()) {
      const outcome = await run({ serverKind, requestId: `id-${index}` });
      hashes.add(outcome.promptHash);
    }
    t.equal(hashes.size, 1);
    t.match([...hashes][0], /^[0-9a-f]{64}$/);
  },
);

t.test('a failure has the hash of its prompt', async (t) => {
  const { server, run } = await setup(t);
  server.respond({ kind: 'status', status: 503 });
  t.match(await run(), { kind: 'failure', class: 'overload', promptHash: /^[0-9a-f]{64}$/ });
});

t.test('a line in its own shape arrives as it is, with an id only where it has none', async (t) => {
  const { server, run } = await setup(t);
  server.respond({ kind: 'answer' });
  const messages = [{ role: 'user', content: 'How many wheels?' }];
  const sent = async (own: object) => {
    const body = { messages, seed: 7, ...own };
    const request = {
      shape: 'openai',
      url: '/v1/chat/completions',
      query: 'How many wheels?',
      body,
    } as const;
    await run({ serverKind: 'sglang', requestId: 'the-id', request });
    return server.requests.at(-1)?.body;
  };
  const all = { messages, seed: 7, model: 'fake-model' };
  t.strictSame(await sent({}), { ...all, rid: 'the-id' });
  t.strictSame(await sent({ stream: false, rid: 'mine' }), { ...all, stream: false, rid: 'mine' });
  t.strictSame(await sent({ n: 2 }), { ...all, n: 2 }, 'several builds want two ids then');
});

t.test('prompts without messages are sent whole, and are learned from', async (t) => {
  const { server, run } = await setup(t);
  const long = WORDS.repeat(40);
  const usage = { prompt_tokens: 1_000, total_tokens: 1_000 };
  const answer = { choices: [{ text: 'ten' }], data: [{ embedding: [1] }], usage };
  server.respond({ kind: 'status', status: 200, body: answer });
  for (const [url, body] of [
    ['/v1/completions', { prompt: long }],
    ['/v1/completions', { prompt: [long] }],
    ['/v1/embeddings', { input: long }],
  ] as const) {
    const request = { shape: 'openai', url, query: '', body } as const;
    const outcome = await run({ contextTokens: 100, serverKind: 'vllm', request });
    t.match(outcome, { kind: 'success', bytesPerToken: long.length / 1_000 });
    t.strictSame(server.requests.at(-1)?.body, { ...body, model: 'fake-model' });
  }
  const request = { shape: 'openai', url: '/v1/embeddings', query: '', body: { input: [1, 2, 3] } } as const;
  t.match(await run({ request }), { kind: 'success', bytesPerToken: undefined }, 'tokens are no text');
});
