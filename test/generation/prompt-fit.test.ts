// Prompts that have to fit the context of a model: what is cut, what the server's refusal changes, what is learned.

import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { GenerationTask } from '../../src/domain/generation.ts';
import type { Passage } from '../../src/domain/passage.ts';
import { cutPassages, promptWithin } from '../../src/generation/context-cut.ts';
import { buildRequestBody } from '../../src/generation/prompt.ts';
import { promptBytes } from '../../src/generation/prompt-size.ts';
import { promptHash, runTask } from '../../src/generation/run-task.ts';
import type { Behaviour } from '../fakes/fake-chat.ts';
import type { FakeRequest } from '../fakes/fake-model-server.ts';
import { generationTask } from '../fakes/generation-task.ts';
import { startClient } from '../fakes/model-client.ts';

const WORDS = 'The mill has twelve wheels, and each of them turns a stone of its own. ';

function passages(count: number, text = WORDS.repeat(14)): Passage[] {
  return Array.from({ length: count }, (_, index) => ({
    documentId: `d${index}`,
    ...{ chunk: 0, title: null, source: null, text, distance: 0 },
  }));
}

/** Counts so many bytes as a token, and refuses what is too long, in these words. */
function strictServer(
  contextTokens: number,
  bytesPerToken: number,
  say = (prompt: number) =>
    `This model's maximum context length is ${contextTokens} tokens. However, your request has ${prompt} input tokens.`,
) {
  return ({ body }: FakeRequest): Behaviour => {
    const bytes = body.messages.reduce((sum, { content }) => sum + Buffer.byteLength(String(content)), 0);
    const prompt = Math.ceil(bytes / bytesPerToken) + 20;
    if (prompt + Number(body.max_tokens) > contextTokens) {
      return {
        kind: 'status',
        status: 400,
        body: { error: { message: say(prompt), type: 'BadRequestError' } },
      };
    }
    const usage = { prompt_tokens: prompt, completion_tokens: 3, total_tokens: prompt + 3 };
    return { kind: 'answer', text: 'So it is [d0#0] [d9#0].', usage };
  };
}

async function setup(t: Test) {
  const { server, client } = await startClient(t);
  const run = (changes: Partial<GenerationTask> = {}) =>
    runTask(
      generationTask(server.url, { serverKind: 'vllm', ...changes }),
      client,
      new AbortController().signal,
    );
  const sent = (index: number) => String(server.requests[index]?.body.messages.at(-1)?.content);
  return { server, run, sent };
}

t.test('passages go from the end of the ranking, whole, until the prompt fits', async (t) => {
  const { server, run, sent } = await setup(t);
  server.respond(strictServer(1_024, 4));
  const outcome = await run({ contextTokens: 1_024, passages: passages(5) });
  t.match(outcome, { kind: 'success', contextCut: { passages: 3, characters: null } });
  t.equal(server.requests.length, 1, 'nothing is sent in vain');
  t.match(sent(0), /id="d0#0"[\s\S]*id="d1#0"[\s\S]*id="d2#0"[\s\S]*Question: What\?$/);
  t.notMatch(sent(0), 'd3#0');
  t.match(outcome, { citations: { known: [{ label: 'd0#0' }], unknown: ['d9#0'] } });
  server.respond({ kind: 'answer' });
  const fits = await run({ contextTokens: 4_096, passages: passages(5) });
  t.notOk('contextCut' in fits);
});

t.test('a single passage that is too long is cut between characters', async (t) => {
  const { server, run, sent } = await setup(t);
  server.respond(strictServer(512, 4));
  for (const text of ['👩‍👩‍👧', 'é', 'x', '手', '</s> ']) {
    const outcome = await run({ contextTokens: 512, passages: passages(2, text.repeat(2_000)) });
    t.match(outcome, { kind: 'success', contextCut: { passages: 1, characters: Number } });
    t.ok(sent(server.requests.length - 1).isWellFormed(), text);
  }
});

t.test('question and system prompt are never cut: what cannot fit is for the server to decide', async (t) => {
  const { server, run, sent } = await setup(t);
  const query = WORDS.repeat(100);
  server.respond({ kind: 'answer' });
  const request = { shape: 'native', query } as const;
  const outcome = await run({ contextTokens: 512, passages: passages(2), request });
  t.notOk('contextCut' in outcome);
  t.ok(sent(0).includes('id="d1#0"') && sent(0).endsWith(query));
  // Refused, it is tried once more without context.
  server.respond(strictServer(512, 4));
  t.match(await run({ contextTokens: 512, passages: passages(2), request }), {
    kind: 'failure',
    class: 'request',
    code: 'generation_rejected',
    contextCut: { passages: 0 },
  });
  t.equal(server.requests.length, 3);
  t.equal(sent(2), query);
});

t.test('a passage of which next to nothing would be left is left out', async (t) => {
  const { server, run, sent } = await setup(t);
  server.respond({ kind: 'answer' });
  const query = 'q'.repeat(1_450);
  const request = { shape: 'native', query } as const;
  t.match(await run({ contextTokens: 512, passages: passages(1), request }), { contextCut: { passages: 0 } });
  t.equal(sent(0), query, 'and the question goes alone');
});

t.test('a refusal for length is answered with less context, once, under an id of its own', async (t) => {
  const { server, run } = await setup(t);
  server.respond(strictServer(1_024, 2));
  // Thought to have four bytes a token, the prompt has two.
  const outcome = await run({ serverKind: 'sglang', contextTokens: 1_024, passages: passages(3) });
  t.match(outcome, { kind: 'success', isShortened: true, contextCut: { passages: 1, characters: null } });
  t.equal(server.requests.length, 2);
  const [first, second] = server.requests;
  t.not(first?.body.rid, second?.body.rid);
  t.ok(Number(outcome.bytesPerToken) < 2.1, 'and the ratio is known');
});

t.test('it works without numbers too, and without knowing the context', async (t) => {
  const { server, run } = await setup(t);
  const bare = () => 'the prompt is longer than the context length currently available to the model';
  server.respond(strictServer(1_024, 4, bare));
  t.match(await run({ contextTokens: null, passages: passages(5) }), {
    kind: 'success',
    contextCut: { passages: 2 },
  });
  server.respond(strictServer(1_024, 3, bare));
  const near = await run({ contextTokens: 1_024, bytesPerToken: 4.2, passages: passages(4) });
  t.match(near, { kind: 'success', isShortened: true });
});

t.test('a server that refuses whatever it gets is asked twice, not more', async (t) => {
  const { server, run } = await setup(t);
  server.respond({
    kind: 'status',
    status: 400,
    body: { error: { message: 'maximum context length is 16 tokens' } },
  });
  t.match(await run({ passages: passages(5) }), {
    class: 'request',
    code: 'generation_rejected',
    isShortened: true,
  });
  t.equal(server.requests.length, 2);
  t.match(await run(), { class: 'request', code: 'generation_rejected' });
  t.equal(server.requests.length, 3, 'without passages there is nothing to leave out');
  server.respond({ kind: 'status', status: 400, body: { error: { message: 'Invalid grammar.' } } });
  t.match(await run({ passages: passages(5) }), { class: 'request', code: 'generation_rejected' });
  t.equal(server.requests.length, 4);
});

t.test('an OpenAI line has its own limit, and only its passages are cut', async (t) => {
  const { server, run } = await setup(t);
  server.respond(strictServer(1_024, 4));
  const messages = [{ role: 'user', content: 'What?' }];
  const request = {
    shape: 'openai',
    url: '/v1/chat/completions',
    query: 'What?',
    body: { messages, max_tokens: 500 },
  } as const;
  const outcome = await run({
    contextTokens: 1_024,
    request,
    passages: passages(5),
    template: '{context}{question}!',
  });
  t.match(outcome, { kind: 'success', contextCut: { passages: 1 } });
  t.same(server.requests[0]?.body.messages.at(-1), messages[0], 'and no template touches it');
});

t.test('where the answer may fill the whole context, half of it is kept for it', async (t) => {
  const { server, run } = await setup(t);
  server.respond({ kind: 'answer' });
  t.match(await run({ contextTokens: 1_024, maxTokens: 4_096, passages: passages(5) }), {
    contextCut: { passages: 1 },
  });
});

t.test('learns from what servers count, and from no count that cannot be', async (t) => {
  const { server, run } = await setup(t);
  const learned = async (prompt_tokens: unknown, changes: Partial<GenerationTask> = {}) => {
    server.respond({ kind: 'answer', usage: { prompt_tokens } });
    return (await run({ passages: passages(4), ...changes })).bytesPerToken;
  };
  t.ok(Math.abs(Number(await learned(1_000)) - 4.1) < 0.2);
  const [passage] = passages(1);
  const long = passage && [{ ...passage, text: 'Watermills internationally turning. '.repeat(60) }];
  const isLearned = async (believed: Partial<GenerationTask>) =>
    Number(await learned(400, { ...believed, passages: long ?? [] })) > 5;
  t.ok(await isLearned({ id: 1, bytesPerToken: 3 }), 'what is news');
  t.notOk(await isLearned({ id: 1, bytesPerToken: 5.5 }), 'not what is known');
  t.ok(await isLearned({ id: 16, bytesPerToken: 5.5 }), 'but for a sample');
  // An old Ollama leaves out what it had cached.
  for (const count of [12, 300, 0, -1, null, 'many', 1e12])
    t.equal(await learned(count), undefined, String(count));
  t.equal(await learned(20, { passages: [] }), undefined, 'too short to tell');
  const image = [
    { type: 'image_url', image_url: { url: 'data:' } },
    { type: 'text', text: WORDS.repeat(50) },
  ];
  const body = { messages: [{ role: 'user', content: image }] };
  t.equal(
    await learned(5_000, { request: { shape: 'openai', url: '/v1/chat/completions', query: 'x', body } }),
    undefined,
    'an image',
  );
});

const anyPassage = fc.record({
  documentId: fc.string(),
  chunk: fc.nat(),
  title: fc.option(fc.string()),
  source: fc.constant(null),
  text: fc.oneof(
    fc.string({ unit: 'binary', maxLength: 400 }),
    fc.string({ minLength: 200, maxLength: 900 }),
  ),
  distance: fc.constant(0.5),
});

t.test('whatever is cut fits, is a beginning of the ranking, and can be cut the same again', async () => {
  fc.assert(
    fc.property(
      fc.array(anyPassage, { minLength: 1, maxLength: 5 }),
      fc.nat({ max: 4_000 }),
      (found, maxBytes) => {
        const task = generationTask('http://m', { passages: found });
        const bare = promptBytes(buildRequestBody({ ...task, passages: [] }));
        const prompt = promptWithin(task, maxBytes);
        if (prompt === null) return bare > maxBytes;
        const again = buildRequestBody({ ...task, passages: cutPassages(found, prompt.cut) });
        const kept = cutPassages(found, prompt.cut);
        return (
          promptBytes(prompt.body) <= maxBytes &&
          promptHash(again) === promptHash(prompt.body) &&
          kept.every(({ text }, index) => found[index]?.text.startsWith(text))
        );
      },
    ),
    { numRuns: 500 },
  );
});
