// Answers that are well-formed and yet odd: what is missing or makes no sense costs no more than it has to, and nothing
// that came is taken for something else.

import t from 'tap';
import { startClient } from '../fakes/model-client.ts';

const UNKNOWN = { promptTokens: null, completionTokens: null, cachedTokens: null };

t.test('counts that make no sense are unknown, and the answer is good', async (t) => {
  const { server, call } = await startClient(t);
  const odd: readonly (Record<string, unknown> | null)[] = [
    null,
    {},
    { prompt_tokens: -1, completion_tokens: -5 },
    { prompt_tokens: 1e300, completion_tokens: Number.MAX_SAFE_INTEGER },
    { prompt_tokens: 1.5, completion_tokens: '7' },
    { prompt_tokens: null, completion_tokens: [3], prompt_tokens_details: 'none' },
    { prompt_tokens: {}, completion_tokens: true, prompt_tokens_details: { cached_tokens: -1 } },
  ];
  for (const usage of odd) {
    for (const document of [false, true]) {
      server.respond({ kind: 'answer', usage, document });
      t.match(await call(), { kind: 'success', usage: UNKNOWN }, JSON.stringify(usage));
    }
  }
});

t.test('a count of NaN, which is no JSON, spoils no streamed answer that is whole', async (t) => {
  const { server, call, failure } = await startClient(t);
  const answer = 'data: {"choices":[{"index":0,"delta":{"content":"Yes."},"finish_reason":"stop"}]}\n\n';
  const usage = 'data: {"choices":[],"usage":{"prompt_tokens":NaN,"completion_tokens":Infinity}}\n\n';
  server.respond({ kind: 'raw', pieces: [answer, usage, 'data: [DONE]\n\n'] });
  t.match(await call(), { kind: 'success', answer: 'Yes.', usage: UNKNOWN });
  const before = { kind: 'raw', pieces: [usage, answer, 'data: [DONE]\n\n'] } as const;
  t.match(
    await failure(before),
    { code: 'generation_invalid' },
    'before its end, nobody knows what was lost',
  );
});

t.test('says which model answered, whichever was asked for', async (t) => {
  const { server, call } = await startClient(t);
  const chunk = { model: 'quite-another', choices: [{ delta: { content: 'Yes.' }, finish_reason: 'stop' }] };
  server.respond({ kind: 'status', status: 200, body: chunk });
  t.match(await call(), { kind: 'success', model: 'quite-another' });
  server.respond({ kind: 'status', status: 200, body: { ...chunk, model: { id: 1 } } });
  t.match(await call(), { kind: 'success', model: 'fake-model' });
});

t.test('an answer without a choice is none, in whatever form it is missing', async (t) => {
  const { failure } = await startClient(t);
  const invalid = { class: 'ambiguous', code: 'generation_invalid' };
  const choices: readonly unknown[] = [
    null,
    {},
    'none',
    [null],
    [[]],
    ['text'],
    [{ index: 1, message: { content: 'the second' }, finish_reason: 'stop' }],
    [{ index: 0, message: { content: 'unfinished' } }],
    [{ index: 0, message: { content: 'unfinished' }, finish_reason: 7 }],
  ];
  for (const value of choices) {
    const outcome = await failure({ kind: 'status', status: 200, body: { choices: value } });
    t.match(outcome, invalid, JSON.stringify(value));
  }
  const empty = { class: 'ambiguous', code: 'empty_answer' };
  for (const message of [null, {}, { content: null }, { content: 7 }, { content: [null, { text: 3 }] }]) {
    const body = { choices: [{ index: 0, message, finish_reason: 'stop' }] };
    t.match(await failure({ kind: 'status', status: 200, body }), empty, JSON.stringify(message));
  }
});

t.test('of a JSON that tries to be an object’s inside, nothing but values is taken', async (t) => {
  const { server, call } = await startClient(t);
  const body =
    '{"__proto__":{"error":"polluted"},"constructor":{"prototype":{"x":1}},' +
    '"choices":[{"index":0,"message":{"content":"Yes.","__proto__":{"content":"No."}},"finish_reason":"stop"}]}';
  server.respond({ kind: 'status', status: 200, body });
  t.match(await call(), { kind: 'success', answer: 'Yes.' });
  t.equal(Reflect.get({}, 'x'), undefined);
});
