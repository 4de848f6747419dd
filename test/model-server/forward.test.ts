// Requests in OpenAI's shape: they arrive as they are, and so does what is answered.

import t from 'tap';
import type { OpenaiEndpoint } from '../../src/domain/line.ts';
import { ModelServerClient } from '../../src/model-server/model-server-client.ts';
import type { Behaviour } from '../fakes/fake-chat.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { FakeSglang } from '../fakes/fake-sglang.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { API_KEY, startClient } from '../fakes/model-client.ts';

const REQUEST =
  '{"model":"m","messages":[{"role":"user","content":"\\u00e9 \\ud83d\\ude00"}],"n":2,"seed":9223372036854775807,' +
  '"temperature":1.0,"min_p":1e-05,"tools":[{"type":"function","function":{"name":"f"}}],' +
  '"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"multipleOf":1.0}}},"logprobs":true}';
const EMPTY = { role: 'assistant', content: null };

const says = (body: string | object, status = 200): Behaviour => ({ kind: 'status', status, body });
/** An answer with these choices. */
const chat = (...choices: object[]) => says({ choices });

t.test('a request arrives to the letter, and its answer comes back so', async (t) => {
  const { server, forward } = await startClient(t);
  const first = { index: 0, message: { role: 'assistant', content: 'Hé' }, finish_reason: 'stop' };
  const answer = `{"id": "x","big":12345678901234567890,"choices":[{"index":1,"message":{"content":"other"}},${JSON.stringify(first)}],"p":1.0,"q":1e-05,"e":"\\u00e9\\/","usage":{"prompt_tokens":4,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":2}},"model":"theirs"}`;
  server.respond(says(answer));
  t.strictSame(await forward(REQUEST), {
    kind: 'success',
    answer: 'Hé',
    model: 'theirs',
    finishReason: 'stop',
    usage: { promptTokens: 4, completionTokens: 5, cachedTokens: 3, reasoningTokens: 2 },
    response: answer,
  });
  t.equal(server.requests[0]?.text, REQUEST);
  t.equal(server.requests[0]?.headers.authorization, `Bearer ${API_KEY}`);
});

t.test('an answer in several lines becomes one line, and all else of it stays', async (t) => {
  const { server, forward } = await startClient(t);
  server.respond(says('\n{\r\n  "choices": [\n    {"text": "a\\nb", "p": 1.0}\n  ]\n}\n'));
  const outcome = await forward('{"prompt":"x"}', { url: '/v1/completions' });
  t.match(outcome, { response: '{"choices": [{"text": "a\\nb", "p": 1.0}]}', answer: 'a\nb' });
});

t.test('each of the three has answers of its own', async (t) => {
  const { server, forward } = await startClient(t);
  const asked: [OpenaiEndpoint, string, string | RegExp][] = [
    ['/v1/chat/completions', '{"messages":[]}', /^answer to/],
    ['/v1/completions', '{"prompt":["a"]}', /^answer to/],
    ['/v1/embeddings', '{"input":"a"}', ''],
  ];
  for (const [url, body, answer] of asked) {
    t.match(await forward(body, { url }), { kind: 'success', answer, finishReason: 'stop' }, url);
    t.match(server.requests.at(-1), { url, text: body });
  }
  for (const url of ['/v1/completions', '/v1/chat/completions', '/v1/embeddings'] as const) {
    for (const body of [
      {},
      { choices: [], data: [] },
      { choices: 'x', data: 'x' },
      [],
      '',
      'oops',
      '{"cho',
    ]) {
      server.respond(says(body));
      t.match(await forward('{}', { url }), {
        kind: 'failure',
        class: 'ambiguous',
        code: 'generation_invalid',
      });
    }
  }
});

t.test('what is no text can be an answer', async (t) => {
  const { server, forward } = await startClient(t);
  for (const message of [
    { ...EMPTY, tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }] },
    { ...EMPTY, function_call: { name: 'f', arguments: '{}' } },
    { ...EMPTY, refusal: 'I will not.' },
    { ...EMPTY, audio: { data: '' } },
  ]) {
    server.respond(chat({ message, finish_reason: 'x' }));
    const outcome = await forward(REQUEST);
    t.match(outcome, { kind: 'success', answer: '', finishReason: 'x' });
    t.ok(outcome.kind === 'success' && outcome.response?.includes(JSON.stringify(message)));
  }
  for (const finish_reason of ['length', 'content_filter']) {
    server.respond(chat({ message: EMPTY, finish_reason }));
    t.match(await forward(REQUEST), { kind: 'success', answer: '', finishReason: finish_reason });
  }
});

t.test('reasoning is not the answer, but stays in the response', async (t) => {
  const { server, forward } = await startClient(t);
  const content = '<think>hm</think>Yes.';
  server.respond(chat({ message: { content }, finish_reason: 'stop' }));
  const outcome = await forward(REQUEST);
  t.match(outcome, { answer: 'Yes.' });
  t.ok(outcome.kind === 'success' && outcome.response?.includes(content));
});

t.test('an answer is empty when none of its choices has anything', async (t) => {
  const { server, forward } = await startClient(t);
  const empty = { kind: 'failure', class: 'ambiguous', code: 'empty_answer' };
  const nothing = { index: 0, message: { content: ' \n' }, finish_reason: 'stop' };
  server.respond(chat(nothing, { ...nothing, index: 1 }));
  t.match(await forward(REQUEST), empty);
  server.respond(chat(nothing, { index: 1, message: { content: 'b' }, finish_reason: 'stop' }));
  t.match(await forward(REQUEST), { kind: 'success', answer: '' });
  server.respond(says({ choices: [{ text: '', finish_reason: 'stop' }] }));
  t.match(await forward('{}', { url: '/v1/completions' }), empty);
});

t.test('what a server gives up is no answer', async (t) => {
  const { server, forward } = await startClient(t);
  const message = { content: 'half' };
  server.respond(chat({ message, finish_reason: 'stop' }, { index: 1, message, finish_reason: 'abort' }));
  t.match(await forward(REQUEST), { class: 'overload', code: 'generation_overloaded' });
  server.respond(chat({ message, finish_reason: 'error' }));
  t.match(await forward(REQUEST), { class: 'ambiguous', code: 'generation_failed' });
  server.respond(
    chat({ message, finish_reason: { type: 'abort', message: 'queue is full', status_code: 503 } }),
  );
  t.match(await forward(REQUEST), { class: 'overload' });
});

t.test('a refusal is kept with its body, without the key', async (t) => {
  const { server, forward } = await startClient(t);
  const body = `{\n "error": {"message": "bad key ${API_KEY}", "param": 1.0}\n}`;
  for (const status of [400, 413, 422]) {
    server.respond(says(body, status));
    t.match(await forward(REQUEST), {
      class: 'request',
      code: 'generation_rejected',
      refusal: { status, body: '{"error": {"message": "bad key ***", "param": 1.0}}' },
    });
  }
  server.respond(says('no\nJSON', 400));
  t.match(await forward(REQUEST), {
    refusal: {
      status: 400,
      body: '{"error":{"message":"no JSON","type":"invalid_request_error","param":null,"code":null}}',
    },
  });
  const payload = { error: { message: 'Bad tool.', code: 422 } };
  server.respond(says(payload));
  t.match(await forward(REQUEST), {
    class: 'request',
    refusal: { status: 422, body: JSON.stringify(payload) },
  });
});

t.test('any other trouble is that of streamed calls', async (t) => {
  const { server, forward } = await startClient(t);
  for (const [behaviour, expected] of [
    [says({ error: { message: 'x' } }, 500), { class: 'ambiguous', code: 'generation_failed' }],
    [says('', 503), { class: 'overload' }],
    [says('', 401), { class: 'misconfigured' }],
    [{ kind: 'reset' }, { class: 'hard' }],
    [{ kind: 'garbage' }, { class: 'ambiguous' }],
    [
      { kind: 'raw', pieces: ['{"choices":[{"te'], end: 'cut' },
      { class: 'ambiguous', isBroken: true },
    ],
  ] as const) {
    server.respond(behaviour);
    const outcome = await forward(REQUEST);
    t.match(outcome, { kind: 'failure', ...expected });
    t.notOk('refusal' in outcome);
  }
  const whole = '{"choices":[{"message":{"content":"all of it"},"finish_reason":"stop"}]}';
  server.respond({ kind: 'raw', pieces: [whole], end: 'cut' });
  t.match(
    await forward(REQUEST),
    { kind: 'success', response: whole },
    'only the end of the connection is lost',
  );
  await server.refuse();
  t.match(await forward(REQUEST), { class: 'hard', isRefused: true });
});

t.test('an answer over the size limit is none, and its connection is closed', async (t) => {
  const { server, forward } = await startClient(t);
  server.respond(says(JSON.stringify({ choices: [{ text: 'x'.repeat(17 * 1024 * 1024) }] })));
  t.match(await forward('{}', { url: '/v1/completions' }), {
    code: 'generation_invalid',
    message: /size limit/,
  });
  await server.until(() => server.connections === 0);
});

t.test('cancelling closes the connection', async (t) => {
  const { server, forward } = await startClient(t);
  server.respond({ kind: 'answer', hold: true });
  const controller = new AbortController();
  const outcome = forward(REQUEST, {}, controller.signal);
  await server.until(() => server.inFlight === 1);
  controller.abort();
  t.match(await outcome, { class: 'cancelled' });
  await server.until(() => server.abortedCount === 1);
  t.match(await forward(REQUEST, {}, controller.signal), { class: 'cancelled' });
  t.equal(server.requests.length, 1);
});

t.test('the whole time is watched, and SGLang is told when it is over', async (t) => {
  const kind = new FakeSglang();
  const clock = new ManualClock();
  const server = await startFakeModelServer({ kind, respond: { kind: 'answer', hold: true } });
  const client = new ModelServerClient(clock);
  t.teardown(async () => {
    await client.close();
    await server.close();
  });
  const ask = (body: Record<string, unknown>, requestId: string) =>
    client.forward({
      endpointUrl: server.url,
      apiKey: null,
      serverKind: 'sglang',
      requestId,
      url: '/v1/chat/completions',
      model: 'm',
      body,
      bodyJson: JSON.stringify(body),
      totalTimeoutMs: 5_000,
    });
  const outcomes = [ask({ messages: [], rid: 'mine' }, 'id-1'), ask({ messages: [] }, 'id-2')];
  await server.until(() => server.inFlight === 2);
  await clock.advance(5_000);
  for (const outcome of outcomes) {
    t.match(await outcome, { class: 'ambiguous', code: 'generation_timeout' });
  }
  await server.until(() => kind.abortedIds.length > 0 && server.inFlight === 0);
  t.strictSame(kind.abortedIds, ['id-2'], 'what has an id of its own is not ours to take back');
  t.strictSame(new Set(server.requests.map(({ body }) => body.rid)), new Set(['mine', 'id-2']));
});
