// OpenAI's own client makes batches, follows them and reads their files, with nothing changed but the base URL.

import { type APIError, BadRequestError, ConflictError, NotFoundError } from 'openai';
import t from 'tap';
import { type AnswerBehaviour, fakeAnswer } from '../fakes/fake-chat.ts';
import { type FakeRequest, startFakeModelServer } from '../fakes/fake-model-server.ts';
import { chatLine, OpenaiClient } from '../fakes/openai-client.ts';
import { chromaUrl } from '../fakes/real-chroma.ts';
import { startService } from '../fakes/running-service.ts';

const CHROMA_URL = await chromaUrl(t);
const server = await startFakeModelServer();
t.teardown(() => server.close());
const service = await startService(t as never, {
  GPU_CONCURRENCY: '4',
  CHROMA_URL,
  GPU_ENDPOINTS: server.url,
  MAX_BATCH_LINES: '1000',
});
const client = new OpenaiClient(service.app.url);
const off = { metadata: { rag_mode: 'off' } };

const lastText = ({ body }: FakeRequest) => String(body.messages.at(-1)?.content);

/** Answers, but for questions that hold one of these words. */
function serve(faults: Readonly<Record<string, 'refuse' | 'hold'>>): void {
  server.respond((request) => {
    const word = Object.keys(faults).find((candidate) => lastText(request).includes(candidate));
    if (word === undefined) return { kind: 'answer' } satisfies AnswerBehaviour;
    if (faults[word] === 'hold') return { kind: 'answer', hold: true };
    return { kind: 'status', status: 400, body: { error: { message: 'no such thing', code: 'bad' } } };
  });
}

t.beforeEach(() => serve({}));

t.test('upload, create, poll, and read both files', async (t) => {
  serve({ refused: 'refuse' });
  const file = await client.upload([
    chatLine('a', 'one'),
    chatLine('b', 'refused'),
    '',
    chatLine('c', 'two'),
  ]);
  const made = await client.create(file.id, { metadata: { rag_mode: 'off', team: 'search' } });
  t.match(made, { object: 'batch', status: 'validating', input_file_id: file.id, completion_window: '24h' });
  t.same(made.request_counts, { total: 0, completed: 0, failed: 0 });
  const batch = await client.ended(made.id);
  t.equal(batch.status, 'completed');
  t.same(batch.request_counts, { total: 3, completed: 2, failed: 1 });
  t.same(batch.metadata, { rag_mode: 'off', team: 'search' });
  t.equal(batch.usage?.input_tokens, 24);
  t.equal(batch.usage?.output_tokens_details.reasoning_tokens, 0);

  const output = await client.entries(batch.output_file_id);
  t.same([...output.keys()].sort(), ['a', 'c']);
  const entry = output.get('a');
  t.equal(entry?.error, null);
  t.equal(entry?.response?.status_code, 200);
  t.equal(
    entry?.response?.body.choices?.[0]?.message.content,
    fakeAnswer([{ role: 'user', content: 'one' }]),
    'the prompt is the line as it is',
  );
  const errors = await client.entries(batch.error_file_id);
  t.same([...errors.keys()], ['b']);
  t.equal(errors.get('b')?.response?.status_code, 400);
  t.match(errors.get('b')?.response?.body, { error: { message: 'no such thing' } });
});

t.test('both faces show the same batches', async (t) => {
  const { id } = await client.run([chatLine('a', 'one')], off);
  await client.ended(id);
  t.match(await service.get(`/batches/${id}`), { id, status: 'completed', endpoint: '/v1/chat/completions' });
  const native = await service.upload('{"custom_id":"q","query":"What about the lens?"}', '?pause_after=1');
  t.match(await client.api.batches.retrieve(native.id), { id: native.id, input_file_id: null });
  const ended = await client.ended(native.id);
  t.equal((await client.entries(ended.output_file_id)).get('q')?.response?.status_code, 200);
});

t.test('a batch whose lines have all failed is completed, with an error file alone', async (t) => {
  serve({ refused: 'refuse' });
  const { id } = await client.run([chatLine('a', 'refused 1'), chatLine('b', 'refused 2')], off);
  const batch = await client.ended(id);
  t.equal(batch.status, 'completed');
  t.equal(batch.output_file_id, null);
  t.ok(batch.error_file_id);
  t.equal((await client.entries(batch.error_file_id)).size, 2);
});

t.test('a paused batch is in progress, as far as OpenAI knows', async (t) => {
  const lines = [chatLine('a', 'one'), chatLine('b', 'two')];
  const { id } = await client.run(lines, { ragmill: { rag_mode: 'off', pause_after: 1 } });
  await t.resolves(
    client.until(id, 'the first line', ({ request_counts }) => request_counts?.completed === 1),
  );
  t.equal((await service.batch(id)).status, 'paused');
  t.equal((await client.api.batches.retrieve(id)).status, 'in_progress');
  await service.fetch(`/batches/${id}/resume`, { method: 'POST' });
  t.equal((await client.ended(id)).status, 'completed');
});

t.test('a cancelled batch keeps what was answered, and its output can be read while it runs', async (t) => {
  serve({ held: 'hold' });
  const { id } = await client.run([chatLine('a', 'one'), chatLine('b', 'held')], off);
  const running = await client.until(id, 'the first line', ({ output_file_id }) => Boolean(output_file_id));
  t.equal(running.status, 'in_progress');
  t.equal(running.error_file_id, null);
  const soFar = await client.entries(running.output_file_id);
  t.same([...soFar.keys()], ['a']);
  const deleted = await client.api.files
    .delete(String(running.output_file_id))
    .catch((error: unknown) => error);
  t.ok(deleted instanceof ConflictError, 'it still grows');

  t.match((await client.api.batches.cancel(id)).status, /^cancel/);
  const batch = await client.ended(id);
  t.equal(batch.status, 'cancelled');
  t.ok(batch.cancelled_at);
  t.same([...(await client.entries(batch.output_file_id)).keys()], ['a']);
  t.equal((await client.entries(batch.error_file_id)).get('b')?.error?.code, 'batch_cancelled');

  const again = await client.api.batches.cancel(id).catch((error: unknown) => error);
  t.ok(again instanceof ConflictError);
  t.match(again, { type: 'invalid_request_error', message: /'cancelled'/ });
});

t.test('when the window is over, open lines stand in the error file', async (t) => {
  serve({ held: 'hold' });
  const { id } = await client.run([chatLine('a', 'held')], { ...off, completion_window: '1s' as '24h' });
  const batch = await client.ended(id);
  t.equal(batch.status, 'expired');
  t.ok(batch.expired_at);
  const entry = (await client.entries(batch.error_file_id)).get('a');
  t.equal(entry?.response, null);
  t.equal(entry?.error?.code, 'batch_expired');
});

t.test('a file with bad lines is taken, and fails the batch with all that is wrong', async (t) => {
  const url = (path: string) => chatLine('u', 'x').replace('/v1/chat/completions', path);
  const lines = [
    'not json',
    chatLine('a', 'one'),
    '["no object"]',
    chatLine('a', 'again'),
    chatLine('s', 'x', { stream: true }),
    chatLine('m', 'x', { model: 'another' }),
    url('/v1/embeddings'),
    url('/v1/responses'),
    chatLine('g', 'x').replace('"POST"', '"GET"'),
    '{"custom_id":"n","method":"POST","url":"/v1/chat/completions"}',
    '{"custom_id":"o","method":"POST","url":"/v1/chat/completions","body":{"model":"fake-model"}}',
    '{"method":"POST","url":"/v1/chat/completions","body":{}}',
  ];
  const file = await client.upload(lines);
  t.equal(file.status, 'processed');
  const batch = await client.ended((await client.create(file.id)).id);
  t.equal(batch.status, 'failed');
  t.ok(batch.failed_at);
  t.same(batch.request_counts, { total: 0, completed: 0, failed: 0 });
  t.same([batch.output_file_id, batch.error_file_id], [null, null]);
  t.equal(batch.errors?.object, 'list');
  t.same(
    batch.errors?.data?.map(({ line, code, param }) => [line, code, param]),
    [
      [1, 'invalid_json_line', null],
      [3, 'invalid_json_line', null],
      [4, 'duplicate_custom_id', 'custom_id'],
      [5, 'streaming_unsupported', 'body.stream'],
      [6, 'model_mismatch', 'body.model'],
      [7, 'url_mismatch', 'url'],
      [8, 'invalid_url', 'url'],
      [9, 'invalid_method', 'method'],
      [10, 'missing_required_parameter', 'body'],
      [11, 'missing_required_parameter', 'body.messages'],
      [12, 'missing_required_parameter', 'custom_id'],
    ],
  );
  t.equal(batch.errors?.data?.[0]?.message, 'This line is not parseable as valid JSON.');
});

t.test('files that can be no batch at all', async (t) => {
  const cases: [string, string, number | null][] = [
    ['', 'empty_file', null],
    ['\n\n', 'empty_file', null],
    [chatLine('a', 'x', { model: 'nobody-has-it' }), 'model_not_found', 1],
    [
      Array.from({ length: 1001 }, (_, index) => chatLine(`q${index}`, 'x')).join('\n'),
      'too_many_tasks',
      null,
    ],
  ];
  for (const [text, code, line] of cases) {
    const batch = await client.ended((await client.run(text)).id);
    t.equal(batch.status, 'failed', code);
    t.match(batch.errors?.data, [{ code, line }]);
  }
});

t.test('only the first hundred errors are listed', async (t) => {
  const { id } = await client.run(Array.from({ length: 150 }, () => 'nonsense'));
  const { errors } = await client.ended(id);
  t.equal(errors?.data?.length, 100);
  t.equal(errors?.data?.at(-1)?.line, 100);
});

t.test('with retrieval, the sources of an answer stand under "ragmill" in its body', async (t) => {
  const { id } = await client.run([chatLine('lens', 'Who polishes the lens of the keeper?')], {
    metadata: { top_k: '1' },
  });
  const batch = await client.ended(id);
  const entry = (await client.entries(batch.output_file_id)).get('lens');
  t.match(entry?.response?.body.ragmill?.rag.documents, [{ id: 'lens' }]);
  const plain = await client.ended((await client.run([chatLine('lens', 'Who polishes the lens?')], off)).id);
  const bare = (await client.entries(plain.output_file_id)).get('lens');
  t.notOk('ragmill' in (bare?.response?.body ?? {}));
});

t.test('completions and embeddings are passed on as they are, and so are their responses', async (t) => {
  const ways = [
    ['/v1/completions', { prompt: 'Once upon' }, { object: 'text_completion' }],
    ['/v1/embeddings', { input: ['one', 'two'] }, { data: [{ embedding: [0.25, -1] }, { index: 1 }] }],
  ] as const;
  for (const [url, body, response] of ways) {
    const line = { custom_id: 'a', method: 'POST', url, body: { model: 'fake-model', ...body } };
    const { id } = await client.run(JSON.stringify(line), { endpoint: url });
    const batch = await client.ended(id);
    t.equal(batch.endpoint, url);
    const entry = (await client.entries(batch.output_file_id)).get('a');
    t.match(entry?.response, { status_code: 200, body: response });
    t.notOk('ragmill' in (entry?.response?.body ?? {}));
  }
});

t.test('options: defaults, over them those of the metadata, over them those of ragmill', async (t) => {
  const template = `{context}${'x'.repeat(600)}{question}`;
  const { id } = await client.run([chatLine('a', 'one')], {
    metadata: { rag_mode: 'off', top_k: '3', temperature: '0.5', where: '{"lang":"en"}', anything: 'else' },
    ragmill: { top_k: 4, template, priority: 'low' },
  });
  const { options } = await service.batch(id);
  t.match(options, {
    rag_mode: 'off',
    top_k: 4,
    temperature: 0.5,
    where: { lang: 'en' },
    template,
    priority: 'low',
    max_failures: 0,
    completion_window: '24h',
  });
  await client.ended(id);
});

t.test('metadata come back as they were sent, whatever their keys', async (t) => {
  const metadata = { 'two\nlines': 'a\nb', '': 'empty', 'größe 🚢': 'ü' };
  const { id } = await client.run([chatLine('a', 'one')], { metadata });
  t.same((await client.ended(id)).metadata, metadata);
  t.same((await service.batch(id)).metadata, metadata);
});

t.test('what is wrong with a request for a batch is said with its name', async (t) => {
  const { id: input_file_id } = await client.upload([chatLine('a', 'one')]);
  const good = { input_file_id, endpoint: '/v1/chat/completions', completion_window: '24h' };
  const many = Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, 'v']));
  const cases: [object, string, RegExp][] = [
    [{ ...good, input_file_id: undefined }, 'input_file_id', /Missing required parameter/],
    [{ ...good, endpoint: '/v1/responses' }, 'endpoint', /must be one of/],
    [{ ...good, completion_window: undefined }, 'completion_window', /Missing/],
    [{ ...good, completion_window: 'soon' }, 'completion_window', /such as 24h/],
    [{ ...good, metadata: many }, 'metadata', /16/],
    [{ ...good, metadata: { ['k'.repeat(65)]: 'v' } }, 'metadata', /64/],
    [{ ...good, metadata: { k: 'v'.repeat(513) } }, 'metadata.k', /512/],
    [{ ...good, metadata: { k: 1 } }, 'metadata.k', /string/],
    [{ ...good, metadata: { 'k\nk': 1 } }, 'metadata.k\nk', /string/],
    [{ ...good, metadata: { top_k: 'many' } }, 'metadata.top_k', /integer/],
    [{ ...good, metadata: { rag_mode: 'on' } }, 'metadata.rag_mode', /retrieve/],
    [{ ...good, metadata: { where: '{"$x":1}' } }, 'metadata.where', /it /],
    [{ ...good, ragmill: { top_k: '3' } }, 'ragmill.top_k', /integer/],
    [{ ...good, ragmill: { topk: 3 } }, 'ragmill.topk', /Unknown/],
    [
      { ...good, output_expires_after: { anchor: 'created_at', seconds: 1 } },
      'output_expires_after.seconds',
      />=/,
    ],
    [{ ...good, inputfile: 1 }, 'inputfile', /Unknown parameter/],
  ];
  for (const [body, param, words] of cases) {
    const error = await client.api.batches.create(body as never).catch((thrown: unknown) => thrown);
    t.ok(error instanceof BadRequestError, param);
    t.match(error, { status: 400, param, type: 'invalid_request_error', requestID: /./, message: words });
  }
});

t.test('a batch is made of an uploaded file alone', async (t) => {
  const missing = await client.create('file-0').catch((error: unknown) => error);
  t.ok(missing instanceof NotFoundError);
  t.match(missing, { param: 'input_file_id', code: null, message: /file-0/ });
  const batch = await client.ended((await client.run([chatLine('a', 'one')], off)).id);
  const output = await client.create(String(batch.output_file_id)).catch((error: unknown) => error);
  t.ok(output instanceof BadRequestError);
  t.match(output, { param: 'input_file_id', message: /batch_output/ });
});

t.test('what is not there is a NotFoundError with the id of the request', async (t) => {
  const calls = [
    () => client.api.batches.retrieve('batch_0'),
    () => client.api.batches.cancel('batch_0'),
    () => client.api.batches.list({ after: 'batch_0' }),
    () => client.api.models.retrieve('nobody-has-it'),
    () => client.api.get('/nowhere'),
  ];
  for (const call of calls) {
    const error = await Promise.resolve(call()).catch((thrown: unknown) => thrown);
    t.ok(error instanceof NotFoundError);
    t.ok((error as APIError).requestID);
    t.equal((error as APIError).type, 'invalid_request_error');
  }
  const error = await client.api.batches.retrieve('batch_0').catch((thrown: APIError) => thrown);
  t.match(error, { message: "404 No batch found with id 'batch_0'.", param: null, code: null });
});

t.test('the models that are served now', async (t) => {
  const models = await Array.fromAsync(client.api.models.list());
  t.same(
    models.map(({ id, object }) => [id, object]),
    [['fake-model', 'model']],
  );
  t.equal((await client.api.models.retrieve('fake-model')).id, 'fake-model');
});

t.test('for await walks over 250 batches, newest first', async (t) => {
  const file = await client.upload([chatLine('a', 'one')]);
  const made: string[] = [];
  for (let index = 0; index < 250; index += 1) made.push((await client.create(file.id, off)).id);
  const listed: string[] = [];
  for await (const { id } of client.api.batches.list({ limit: 100 })) listed.push(id);
  t.same(listed.slice(0, 250), made.toReversed());
  t.equal(new Set(listed).size, listed.length);
  await client.ended(String(made.at(-1)));
});
