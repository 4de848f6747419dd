// The objects under /v1, field by field as OpenAI documents them: names, types, and which are null. Whatever ragmill adds
// stands beside them.

import t from 'tap';
import type { NewRecord } from '../../src/domain/record.ts';
import type { Services } from '../../src/routes/services.ts';
import { chunk, record } from '../fakes/batch-fixtures.ts';
import { type IntakeServer, startIntake } from '../fakes/intake-server.ts';
import { scratchStore } from '../fakes/scratch-store.ts';

type Json = Readonly<Record<string, unknown>>;

async function setup() {
  const store = await scratchStore(t);
  const scheduler = {
    nudge() {},
    linesPerSecond: () => 0,
    cancel: (id: string) => store.requestCancel(id),
  } as unknown as Services['scheduler'];
  const intake = await startIntake(t, { store, scheduler });
  return { intake, store };
}

const { intake, store } = await setup();

async function ask(
  path: string,
  init: RequestInit = {},
): Promise<{ status: number; headers: Headers; body: Json }> {
  const answer = await fetch(`${intake.url}/v1${path}`, init);
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Json };
}

async function uploaded(
  { url }: IntakeServer = intake,
  fields: readonly [string, string][] = [],
): Promise<Json> {
  const form = new FormData();
  for (const [name, value] of fields) form.append(name, value);
  form.append('file', new Blob(['{}\n']), 'mydata.jsonl');
  form.append('purpose', 'batch');
  return (await (await fetch(`${url}/v1/files`, { method: 'POST', body: form })).json()) as Json;
}

function create(body: object) {
  const headers = { 'content-type': 'application/json' };
  return ask('/batches', { method: 'POST', headers, body: JSON.stringify(body) });
}

async function made(more: object = {}): Promise<Json> {
  const { id } = await uploaded();
  const window = { endpoint: '/v1/chat/completions', completion_window: '24h' };
  return (await create({ input_file_id: id, ...window, ...more })).body;
}

/** Runs a batch of two lines to this point, as a scheduler would. */
async function run(batchId: string, records: readonly NewRecord[]): Promise<void> {
  await store.appendChunk(batchId, chunk(0, 1, 2));
  await store.passValidation(batchId, 100);
  const claimed = await store.claimChunk(batchId);
  if (!claimed) throw new Error('nothing to claim');
  await store.appendRecords(claimed.lease, records, new Map());
}

/** What OpenAI documents of a batch. */
function documented(batch: Json): Json {
  const { pause_reason, run, line_counts, rag_counts, progress, options, last_seq, ...rest } = batch;
  const { collection_generations, ...openai } = rest;
  for (const own of [run, line_counts, rag_counts, progress, options, last_seq, collection_generations]) {
    t.not(own, undefined, 'what ragmill adds is there');
  }
  t.not(pause_reason, undefined);
  return openai;
}

const isSeconds = (value: unknown) => Number.isInteger(value) && Number(value) > 1_500_000_000;

t.test('File', async (t) => {
  const file = await uploaded();
  t.match(file.id, /^file-[0-9a-f]{24}$/);
  t.ok(isSeconds(file.created_at));
  const golden = {
    id: file.id,
    object: 'file',
    bytes: 3,
    created_at: file.created_at,
    filename: 'mydata.jsonl',
    purpose: 'batch',
    status: 'processed',
    status_details: null,
  };
  t.same(file, golden);
  t.same((await ask(`/files/${file.id}`)).body, golden);
  const short = await uploaded(intake, [
    ['expires_after[anchor]', 'created_at'],
    ['expires_after[seconds]', '3600'],
  ]);
  t.equal(short.expires_at, Number(short.created_at) + 3600);
});

t.test('File, when files are kept for a while only', async (t) => {
  const own = await startIntake(t, { fileLifeSeconds: 7200 });
  const file = await uploaded(own);
  t.equal(file.expires_at, Number(file.created_at) + 7200);
});

t.test('list of files, and a deleted one', async (t) => {
  const made = [await uploaded(), await uploaded()].map((file) => file.id);
  const { body } = await ask('/files?limit=1&purpose=batch');
  // Of one second, either may be the newest.
  const id = body.first_id;
  t.ok(made.includes(id) || (body.data as Json[])[0]?.id === id);
  t.same(Object.keys(body).sort(), ['data', 'first_id', 'has_more', 'last_id', 'object']);
  t.same({ ...body, data: [] }, { object: 'list', data: [], first_id: id, last_id: id, has_more: true });
  t.same((await ask(`/files/${id}`, { method: 'DELETE' })).body, { id, object: 'file', deleted: true });
  t.same((await ask('/files?purpose=fine-tune')).body, {
    object: 'list',
    data: [],
    first_id: null,
    last_id: null,
    has_more: false,
  });
});

t.test('Batch, just made', async (t) => {
  const batch = await made({ metadata: { customer_id: 'user_123456789' } });
  t.match(batch.id, /^batch_[0-9a-f]{24}$/);
  t.same(documented(batch), {
    id: batch.id,
    object: 'batch',
    endpoint: '/v1/chat/completions',
    errors: null,
    input_file_id: batch.input_file_id,
    completion_window: '24h',
    status: 'validating',
    output_file_id: null,
    error_file_id: null,
    created_at: batch.created_at,
    in_progress_at: null,
    expires_at: Number(batch.created_at) + 86_400,
    finalizing_at: null,
    completed_at: null,
    failed_at: null,
    expired_at: null,
    cancelling_at: null,
    cancelled_at: null,
    request_counts: { total: 0, completed: 0, failed: 0 },
    metadata: { customer_id: 'user_123456789' },
    usage: {
      input_tokens: 0,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: 0,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 0,
    },
  });
});

t.test('Batch, completed', async (t) => {
  const { id, ...before } = await made();
  await run(String(id), [record(1), { ...record(2, 'failed'), reasoningTokens: 2 }]);
  const { body } = await ask(`/batches/${id}`);
  const hash = String(id).slice('batch_'.length);
  t.same(documented(body), {
    ...documented({ id, ...before }),
    status: 'completed',
    output_file_id: `file-output-${hash}`,
    error_file_id: `file-error-${hash}`,
    in_progress_at: body.in_progress_at,
    finalizing_at: body.completed_at,
    completed_at: body.completed_at,
    request_counts: { total: 2, completed: 1, failed: 1 },
    usage: {
      input_tokens: 20,
      input_tokens_details: { cached_tokens: 2 },
      output_tokens: 4,
      output_tokens_details: { reasoning_tokens: 2 },
      total_tokens: 24,
    },
  });
  t.ok(isSeconds(body.in_progress_at) && isSeconds(body.completed_at));
  const { body: output } = await ask(`/files/file-output-${hash}`);
  t.same(Object.keys(output).sort(), [
    'bytes',
    'created_at',
    'filename',
    'id',
    'object',
    'purpose',
    'status',
    'status_details',
  ]);
  t.equal(output.purpose, 'batch_output');
});

t.test('Batch, failed', async (t) => {
  const { id, ...before } = await made();
  const error = { code: 'invalid_json_line', message: 'No JSON.', param: null, line: 1 };
  await store.failValidation(String(id), [error]);
  const { body } = await ask(`/batches/${id}`);
  t.same(documented(body), {
    ...documented({ id, ...before }),
    status: 'failed',
    errors: { object: 'list', data: [error] },
    failed_at: body.failed_at,
  });
  t.ok(isSeconds(body.failed_at));
});

t.test('Batch, cancelled while its file was checked', async (t) => {
  const { id, ...before } = await made();
  const { status, body } = await ask(`/batches/${id}/cancel`, { method: 'POST' });
  t.equal(status, 200);
  t.same(documented(body), {
    ...documented({ id, ...before }),
    status: 'cancelled',
    cancelling_at: body.cancelling_at,
    cancelled_at: body.cancelled_at,
  });
  t.ok(isSeconds(body.cancelled_at));
});

t.test('without a question there is nothing to retrieve for', async (t) => {
  for (const endpoint of ['/v1/completions', '/v1/embeddings']) {
    t.match(await made({ endpoint, ragmill: { rag_mode: 'retrieve' } }), {
      endpoint,
      options: { rag_mode: 'off' },
    });
  }
});

t.test('list of batches', async (t) => {
  const { id } = await made();
  const { body } = await ask('/batches?limit=1');
  t.same(Object.keys(body).sort(), ['data', 'first_id', 'has_more', 'last_id', 'object']);
  t.same({ ...body, data: [] }, { object: 'list', data: [], first_id: id, last_id: id, has_more: true });
  t.same((body.data as Json[])[0]?.id, id);
});

t.test('list of models', async (t) => {
  t.same((await ask('/models')).body, { object: 'list', data: [] });
});

t.test('Error: every way to go wrong has the envelope, its type and the id of the request', async (t) => {
  const json = { 'content-type': 'application/json' };
  const good = { endpoint: '/v1/chat/completions', completion_window: '24h' };
  const cases: [string, RequestInit, number, Json][] = [
    ['/batches/batch_0', {}, 404, { message: "No batch found with id 'batch_0'.", param: null, code: null }],
    ['/files/file-0', {}, 404, { message: 'No such File object: file-0', param: 'id', code: null }],
    ['/files/file-0/content', {}, 404, { param: 'id', code: null }],
    ['/models/a/b', {}, 404, { param: 'model', code: 'model_not_found' }],
    ['/nowhere', {}, 404, { message: /^Unknown request URL: GET \/v1\/nowhere/, param: null, code: null }],
    ['/batches', { method: 'PUT' }, 404, { param: null, code: null }],
    ['/files/%zz', {}, 400, { param: null, code: 'bad_request' }],
    ['/files?limit=0', {}, 400, { param: 'limit', code: 'invalid_option' }],
    ['/files?order=up', {}, 400, { param: 'order', code: 'invalid_option' }],
    ['/batches?limit=101', {}, 400, { param: 'limit', code: 'invalid_option' }],
    ['/batches', { method: 'POST', headers: json, body: '{"a":' }, 400, { param: null, code: 'bad_request' }],
    ['/batches', { method: 'POST', headers: json, body: '[]' }, 400, { param: null, code: 'bad_request' }],
    ['/batches', { method: 'POST' }, 400, { param: null, code: 'bad_request' }],
    [
      '/batches',
      { method: 'POST', headers: json, body: '{}' },
      400,
      { param: 'input_file_id', code: 'invalid_option' },
    ],
    [
      '/batches',
      { method: 'POST', headers: json, body: JSON.stringify({ ...good, input_file_id: 'file-0' }) },
      404,
      { param: 'input_file_id', code: null },
    ],
    ['/batches', { method: 'POST', headers: json, body: ' '.repeat(3_000_000) }, 413, { code: 'too_large' }],
    ['/files', { method: 'POST', headers: json, body: '{}' }, 415, { code: 'unsupported_media_type' }],
    [
      '/models',
      { headers: { origin: 'http://evil.test' }, method: 'POST' },
      403,
      { code: 'forbidden_origin' },
    ],
  ];
  for (const [path, init, status, error] of cases) {
    const answer = await ask(path, init);
    const what = `${init.method ?? 'GET'} ${path}`;
    t.equal(answer.status, status, what);
    t.match(answer.headers.get('content-type'), /^application\/json/);
    t.match(answer.headers.get('x-request-id'), /^req_[0-9a-f]{24}$/, what);
    t.same(Object.keys(answer.body), ['error']);
    t.same(Object.keys(answer.body.error as Json), ['message', 'type', 'param', 'code'], what);
    t.match(answer.body.error, { message: /./, type: 'invalid_request_error', ...error }, what);
  }
});

t.test(
  'Error: a file that a batch is being made of is in use, and asking again would not help',
  async (t) => {
    const { input_file_id, id } = await made();
    const { status, headers, body } = await ask(`/files/${input_file_id}`, { method: 'DELETE' });
    t.equal(status, 409);
    t.equal(headers.get('x-should-retry'), 'false');
    t.match(body, { error: { type: 'invalid_request_error', code: 'file_in_use', message: /in use/ } });
    await ask(`/batches/${id}/cancel`, { method: 'POST' });
    t.equal((await ask(`/files/${input_file_id}`, { method: 'DELETE' })).status, 200);
  },
);

t.test('Error: what is our own trouble is a server_error, what is too much a rate_limit_error', async (t) => {
  const stopping = await startIntake(t, { draining: AbortSignal.abort() });
  t.match(await uploaded(stopping), { error: { type: 'server_error', code: 'shutting_down', param: null } });
  const full = await startIntake(t, { checkUploadRoom: () => Promise.reject(new Error('no')) });
  t.match(await uploaded(full), { error: { type: 'server_error', code: 'internal_error' } });
  const busy = await startIntake(t);
  using _places = Array.from({ length: 8 }).reduce<DisposableStack>((stack) => {
    stack.use(busy.services.uploadAdmission.enter());
    return stack;
  }, new DisposableStack());
  t.match(await uploaded(busy), { error: { type: 'rate_limit_error', code: 'too_many_uploads' } });
});
