import t from 'tap';
import { fakeAnswer } from '../fakes/fake-chat.ts';
import { API_KEY, MESSAGES, startClient } from '../fakes/model-client.ts';

t.test('reads a streamed answer with its counts', async (t) => {
  const { server, call } = await startClient(t);
  server.respond({
    kind: 'answer',
    text: 'In der Schweiz – 🇨🇭.',
    pieces: 7,
    usage: {
      prompt_tokens: 20,
      completion_tokens: 5,
      prompt_tokens_details: { cached_tokens: 16 },
      completion_tokens_details: { reasoning_tokens: 2 },
    },
  });
  t.same(await call(), {
    kind: 'success',
    answer: 'In der Schweiz – 🇨🇭.',
    model: 'fake-model',
    finishReason: 'stop',
    usage: { promptTokens: 20, completionTokens: 5, cachedTokens: 16, reasoningTokens: 2 },
    response: null,
  });
});

t.test('sends what it was given, asks for a stream with usage, and shows its key', async (t) => {
  const { server, call } = await startClient(t);
  t.equal((await call()).kind, 'success');
  const [request] = server.requests;
  t.same(request?.body, {
    model: 'fake-model',
    messages: MESSAGES,
    max_tokens: 9,
    stream: true,
    stream_options: { include_usage: true },
  });
  t.equal(request?.headers.authorization, `Bearer ${API_KEY}`);
  await call({ apiKey: null });
  t.equal(server.requests[1]?.headers.authorization, undefined);
});

t.test('accepts a document in the place of a stream', async (t) => {
  const { server, call } = await startClient(t);
  server.respond({ kind: 'answer', document: true, usage: null });
  t.match(await call(), {
    kind: 'success',
    answer: fakeAnswer(MESSAGES),
    usage: { promptTokens: null, completionTokens: null, cachedTokens: null },
  });
});

t.test('half an answer is none, though every piece has an empty finish reason', async (t) => {
  const { failure } = await startClient(t);
  const choices = [{ index: 0, delta: { content: 'The answer begins' }, finish_reason: '' }];
  const piece = `data: ${JSON.stringify({ choices })}\n\n`;
  t.match(await failure({ kind: 'raw', pieces: [piece], end: 'cut' }), { class: 'ambiguous' });
  const outcome = await failure({ kind: 'raw', pieces: [piece], end: 'open' }, { stallTimeoutMs: 50 });
  t.match(outcome, { code: 'generation_stalled' });
});

t.test('keeps reasoning out of the answer, and calls nothing but reasoning an empty answer', async (t) => {
  const { server, call, failure } = await startClient(t);
  server.respond({ kind: 'answer', reasoning: 'hm', text: '<think>let me see</think>\n\nYes.' });
  t.match(await call(), { kind: 'success', answer: 'Yes.' });
  const empty = { class: 'ambiguous', code: 'empty_answer' };
  t.match(await failure({ kind: 'answer', text: '' }), empty);
  t.match(await failure({ kind: 'answer', text: ' \n' }), empty);
  const cut = await failure({ kind: 'answer', text: '<think>let me', finishReason: 'length' });
  t.match(cut, { ...empty, message: /max_tokens/ });
});

t.test('a call of a tool is said to be one, unless there is an answer beside it', async (t) => {
  const { server, call, failure } = await startClient(t);
  const say = (content: string | null) => {
    const message = { role: 'assistant', content, tool_calls: [{ id: 'c1', type: 'function' }] };
    return {
      kind: 'status',
      status: 200,
      body: { choices: [{ message, finish_reason: 'tool_calls' }] },
    } as const;
  };
  t.match(await failure(say(null)), { code: 'empty_answer', isToolCall: true, message: /called a tool/ });
  server.respond(say('Let me see.'));
  t.match(await call(), { kind: 'success', answer: 'Let me see.', finishReason: 'tool_calls' });
});

t.test('sorts refusals by status', async (t) => {
  const { failure } = await startClient(t);
  const expected: Record<number, [string, string]> = {
    400: ['request', 'generation_rejected'],
    401: ['misconfigured', 'generation_misconfigured'],
    403: ['misconfigured', 'generation_misconfigured'],
    404: ['misconfigured', 'generation_misconfigured'],
    405: ['misconfigured', 'generation_misconfigured'],
    408: ['overload', 'generation_overloaded'],
    413: ['request', 'generation_rejected'],
    422: ['request', 'generation_rejected'],
    429: ['overload', 'generation_overloaded'],
    500: ['ambiguous', 'generation_failed'],
    501: ['misconfigured', 'generation_misconfigured'],
    502: ['hard', 'generation_unreachable'],
    503: ['overload', 'generation_overloaded'],
    504: ['ambiguous', 'generation_failed'],
  };
  for (const [status, [failureClass, code]] of Object.entries(expected)) {
    const body = { error: { message: 'said so', type: 'x', code: null } };
    const outcome = await failure({ kind: 'status', status: Number(status), body });
    t.match(outcome, { class: failureClass, code, message: `${status}: said so`, retryAfterMs: null });
  }
});

t.test('knows a missing model and a dead engine by what the server says', async (t) => {
  const { failure } = await startClient(t);
  const say = (status: number, body: object) => failure({ kind: 'status', status, body });
  t.match(await say(400, { object: 'error', message: 'The model `x` does not exist.', code: 400 }), {
    class: 'misconfigured',
  });
  t.match(await say(400, { error: { code: 'model_not_found', message: '?' } }), { class: 'misconfigured' });
  t.match(await say(400, { error: 'you mention a model not found in the list' }), { class: 'request' });
  t.match(await say(500, { error: { message: 'EngineCore encountered an issue.' } }), { class: 'hard' });
});

t.test('hands on how long the server wants to be left alone', async (t) => {
  const { failure } = await startClient(t);
  const busy = (value: string) =>
    failure({ kind: 'status', status: 503, headers: { 'retry-after': value }, body: 'busy' });
  t.equal((await busy('2')).retryAfterMs, 2_000);
  t.equal((await busy('999999')).retryAfterMs, 300_000);
  t.ok(Number((await busy(new Date(Date.now() + 60_000).toUTCString())).retryAfterMs) > 0);
});

t.test('does not follow a redirect', async (t) => {
  const { server, failure } = await startClient(t);
  const headers = { location: `${server.url}/v1/chat/completions` };
  t.match(await failure({ kind: 'status', status: 307, headers }), { class: 'misconfigured' });
  t.equal(server.requests.length, 1);
});

t.test('takes an error for an error though it comes with status 200', async (t) => {
  const { failure } = await startClient(t);
  const say = (body: object) => failure({ kind: 'status', status: 200, body });
  t.match(await say({ object: 'error', message: 'queue is full', code: 503 }), { class: 'overload' });
  t.match(await say({ error: { message: 'Queue request timeout reached.', code: null } }), {
    class: 'overload',
  });
  t.match(await say({ error: { message: 'too long', type: 'BadRequestError', code: 400 } }), {
    class: 'request',
  });
  t.match(await say({ error: 'llama runner process has terminated' }), { class: 'ambiguous' });
  t.match(await failure({ kind: 'answer', finishReason: 'abort' }), { class: 'overload' });
  t.match(await failure({ kind: 'answer', finishReason: 'error' }), { class: 'ambiguous' });
});

t.test('takes an error in the middle of a stream for the end of it', async (t) => {
  const { failure } = await startClient(t);
  const start = 'data: {"choices":[{"index":0,"delta":{"content":"Zü"}}]}\n\n';
  const error = 'data: {"error":{"message":"CUDA error","type":"InternalServerError","code":500}}\n\n';
  t.match(await failure({ kind: 'raw', pieces: [start, error, 'data: [DONE]\n\n'] }), {
    class: 'ambiguous',
    code: 'generation_failed',
    message: /CUDA error/,
  });
  t.match(await failure({ kind: 'raw', pieces: [start, 'event: error\ndata: "died"\n\n'] }), {
    code: 'generation_failed',
  });
});

t.test('does not take nonsense for an answer', async (t) => {
  const { failure } = await startClient(t);
  const invalid = { class: 'ambiguous', code: 'generation_invalid' };
  const send = (body: string | object) => failure({ kind: 'status', status: 200, body });
  t.match(await send('<html><body>Welcome to nginx</body></html>'), { ...invalid, message: /nginx/ });
  t.match(await send('{"choices":[{"message":{"content":"Zürich li'), invalid);
  t.match(await send({ choices: [] }), invalid);
  t.match(await send({ hello: 'world' }), invalid);
  t.match(await send('[]'), invalid);
  t.match(await send(''), { ...invalid, message: /empty/ });
  t.match(await failure({ kind: 'raw', pieces: ['data: [DONE]\n\n'] }), invalid);
  t.match(await failure({ kind: 'garbage' }), invalid);
});

t.test('does not take half an answer for an answer', async (t) => {
  const { failure } = await startClient(t);
  const invalid = { class: 'ambiguous', code: 'generation_invalid', message: /cut off/ };
  t.match(await failure({ kind: 'answer', pieces: 5, breakAfter: 2, breakWith: 'cut' }), invalid);
  const start = 'data: {"choices":[{"index":0,"delta":{"content":"Zü"}}]}\n\n';
  t.match(await failure({ kind: 'raw', pieces: [start] }), { code: 'generation_invalid' });
});

t.test('keeps a whole answer whose connection breaks after it', async (t) => {
  const { server, call } = await startClient(t);
  const whole = 'data: {"choices":[{"delta":{"content":"Yes."},"finish_reason":"stop"}]}\n\n';
  server.respond({ kind: 'raw', pieces: [whole], end: 'cut' });
  t.match(await call(), { kind: 'success', answer: 'Yes.', model: 'fake-model' });
});

t.test('says that nobody is there', async (t) => {
  const { server, call, failure } = await startClient(t);
  const hard = { class: 'hard', code: 'generation_unreachable' };
  t.match(await failure({ kind: 'reset' }), hard);
  await server.refuse();
  t.match(await call(), { kind: 'failure', ...hard, message: /ECONNREFUSED/ });
  t.match(await call({ endpointUrl: `http://localhost:${server.port}` }), { kind: 'failure', ...hard });
  await server.accept();
  server.respond({ kind: 'answer' });
  t.match(await call(), { kind: 'success' });
});

t.test('says that an address or a key cannot be used', async (t) => {
  const { call } = await startClient(t);
  const wrong = { kind: 'failure', class: 'misconfigured' };
  t.match(await call({ endpointUrl: 'not a url' }), wrong);
  t.match(await call({ endpointUrl: 'ftp://127.0.0.1' }), wrong);
  const outcome = await call({ apiKey: 'two\nlines' });
  t.match(outcome, wrong);
  t.notMatch(JSON.stringify(outcome), /lines/);
});

t.test('ends a call by its own deadlines and lets go of the connection', async (t) => {
  const { server, failure } = await startClient(t);
  const timeout = { class: 'ambiguous', code: 'generation_timeout' };
  t.match(await failure({ kind: 'answer', hold: true }, { totalTimeoutMs: 20 }), timeout);
  t.match(await failure({ kind: 'answer', hold: true }, { firstTokenTimeoutMs: 20 }), {
    ...timeout,
    message: /begin/,
  });
  t.match(await failure({ kind: 'answer', breakAfter: 1, breakWith: 'stall' }, { stallTimeoutMs: 20 }), {
    class: 'ambiguous',
    code: 'generation_stalled',
  });
  await server.until(() => server.abortedCount === 3 && server.connections === 0);
});

t.test('cancelling reaches the server, at any time', async (t) => {
  const { server, call } = await startClient(t);
  const cancelled = { kind: 'failure', class: 'cancelled', code: 'cancelled' };
  t.match(await call({}, AbortSignal.abort()), cancelled);

  const early = new AbortController();
  const connecting = call({}, early.signal);
  early.abort();
  t.match(await connecting, cancelled);
  t.equal(server.requests.length, 0);

  for (const behaviour of [{ hold: true }, { breakAfter: 1, breakWith: 'stall' }] as const) {
    server.respond({ kind: 'answer', ...behaviour });
    const controller = new AbortController();
    const outcome = call({}, controller.signal);
    await server.until(() => server.inFlight === 1);
    controller.abort();
    t.match(await outcome, cancelled);
    await server.until(() => server.inFlight === 0);
  }
  t.equal(server.abortedCount, 2);
});

t.test('closing ends what is running', async (t) => {
  const { server, client, call } = await startClient(t);
  server.respond({ kind: 'answer', hold: true });
  const outcomes = [call(), call()];
  await server.until(() => server.inFlight === 2);
  await client.close();
  for (const outcome of await Promise.all(outcomes)) t.match(outcome, { class: 'cancelled' });
  t.match(await call(), { class: 'cancelled' });
  await server.until(() => server.connections === 0);
});

t.test('reads no more than an answer can be long', async (t) => {
  const { server, failure } = await startClient(t);
  const megabyte = `data: {"choices":[{"delta":{"content":"${'x'.repeat(2 ** 20)}"}}]}\n\n`;
  const outcome = await failure({ kind: 'raw', pieces: Array(20).fill(megabyte), end: 'open' });
  t.match(outcome, { code: 'generation_invalid', message: /size limit/ });
  await server.until(() => server.connections === 0);
});

t.test('repeats little of what a server says, in one printable line and never the key', async (t) => {
  const { failure } = await startClient(t);
  const body = `Incorrect key ${API_KEY}\r\n\u0000\u001b[31m\u202e${'🗺 x'.repeat(2_000)}`;
  const { message } = await failure({ kind: 'status', status: 401, body });
  t.notMatch(message, new RegExp(API_KEY));
  t.match(message, /Incorrect key \*\*\* \[31m 🗺/);
  t.notMatch(message, /[\p{Cc}\p{Cf}\p{Cs}]/u);
  t.ok(message.length < 350);
});

t.test('carries many answers at a time, each to its question', async (t) => {
  const { server, call } = await startClient(t);
  server.respond({ kind: 'answer', hold: true });
  const calls = Array.from({ length: 100 }, async (_, index) => {
    const messages = [{ role: 'user', content: `question ${index}` }];
    const outcome = await call({ body: { model: 'fake-model', messages } });
    return outcome.kind === 'success' && outcome.answer === fakeAnswer(messages);
  });
  await server.until(() => server.inFlight === 100);
  server.release();
  t.same(new Set(await Promise.all(calls)), new Set([true]));
});
