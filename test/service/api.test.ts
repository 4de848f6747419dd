// The HTTP face: what it takes, what it refuses and how, and what it leaves behind.

import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import t from 'tap';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { chromaUrl } from '../fakes/real-chroma.ts';
import { type BatchAnswer, questions, startService } from '../fakes/running-service.ts';
import { until } from '../fakes/until.ts';

const CHROMA_URL = await chromaUrl(t);
const server = await startFakeModelServer();
t.teardown(() => server.close());
const service = await startService(t as never, {
  GPU_CONCURRENCY: '4',
  CHROMA_URL,
  GPU_ENDPOINTS: server.url,
  MAX_LINE_BYTES: '2000',
  MAX_BATCH_LINES: '1000',
  MAX_BATCH_BYTES: '200000',
});
const { port } = new URL(service.app.url);

interface Problem {
  readonly code: string;
  readonly detail: string;
  readonly request_id: string;
  readonly errors?: readonly { readonly line: number; readonly code: string; readonly message: string }[];
}

async function problemOf(answer: Response): Promise<Problem> {
  const body = (await answer.json()) as Problem & { status: number };
  t.match(answer.headers.get('content-type'), /^application\/problem\+json/);
  t.equal(body.status, answer.status);
  return body;
}

const stored = async () => (await service.get<{ data: unknown[] }>('/batches?limit=100')).data.length;
const good = questions(2);

t.test('bad lines become failed results that name line and field; the good ones are answered', async (t) => {
  const lines = [
    '{"custom_id":"a","query":"What about the lens?"}',
    '{"custom_id":"b","query":',
    '',
    '{"custom_id":"c"}',
    '{"custom_id":"a","query":"again"}',
    '{"custom_id":"d","query":"x","top_k":0}',
    `{"custom_id":"e","query":"${'x'.repeat(2000)}"}`,
    '"just text"',
  ];
  const batch = await service.upload(`${lines.join('\r\n')}\r\n`);
  t.match(batch, { request_counts: { total: 7 } });
  const results = await service.allResults(batch.id, '?order=input');
  t.match(
    results.map(({ line, custom_id, status, error }) => [line, custom_id, status, error?.code ?? null]),
    [
      [1, 'a', 'succeeded', null],
      [2, null, 'failed', 'line_not_json'],
      [4, 'c', 'failed', 'missing_field'],
      [5, 'a', 'failed', 'duplicate_custom_id'],
      [6, 'd', 'failed', 'invalid_field'],
      [7, null, 'failed', 'line_too_long'],
      [8, null, 'failed', 'line_not_object'],
    ],
  );
  t.match(results[2]?.error, { stage: 'input', message: /"query" is missing/ });
  t.match(results[3]?.error?.message, /line 1/);
  t.match(results[4]?.error?.message, /"top_k"/);
});

t.test('with on_invalid=reject one bad line refuses the upload, and nothing is stored', async (t) => {
  const before = await stored();
  const answer = await service.post(`${good}\nnot json`, '?on_invalid=reject');
  t.equal(answer.status, 422);
  const problem = await problemOf(answer);
  t.equal(problem.code, 'invalid_lines');
  t.match(problem.errors, [{ line: 3, code: 'line_not_json' }]);
  t.equal(await stored(), before);
});

t.test('uploads that cannot be batches', async (t) => {
  const before = await stored();
  const cases: [string, string, number, string][] = [
    ['', '', 422, 'empty_upload'],
    ['\n\n  \n', '', 422, 'empty_upload'],
    ['nope\nnope', '', 422, 'invalid_lines'],
    [questions(1001), '', 413, 'too_large'],
    [`${good}\n${'x'.repeat(200_000)}`, '', 413, 'too_large'],
    [good, '?topk=3', 400, 'invalid_option'],
    [good, '?top_k=0', 400, 'invalid_option'],
    [good, '?rag_mode=full', 400, 'invalid_option'],
    [good, '?metadata=3', 400, 'invalid_option'],
    [good, '?metadata={"a":1}', 400, 'invalid_option'],
  ];
  for (const [body, query, status, code] of cases) {
    const answer = await service.post(body, query);
    t.equal(answer.status, status, `${code} ${query}`);
    t.equal((await problemOf(answer)).code, code);
  }
  t.equal(await stored(), before, 'nothing is stored');
});

t.test('an unknown option is named', async (t) => {
  t.match((await problemOf(await service.post(good, '?topk=3'))).detail, /"topk" is not known/);
});

t.test('other content types are refused with the right one', async (t) => {
  const init = { method: 'POST', body: good };
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const answer = await service.fetch('/batches', { ...init, headers });
  t.equal(answer.status, 415);
  t.match((await problemOf(answer)).detail, /application\/x-ndjson/);
  const packed = { 'content-type': 'application/x-ndjson', 'content-encoding': 'br' };
  t.equal((await service.fetch('/batches', { ...init, headers: packed })).status, 415);
});

t.test('a form brings the file and its options, in any order', async (t) => {
  for (const isFieldFirst of [true, false]) {
    const form = new FormData();
    if (isFieldFirst) form.append('top_k', '2');
    form.append('file', new Blob([good]), 'questions.jsonl');
    if (!isFieldFirst) form.append('top_k', '2');
    form.append('metadata', '{"team":"search"}');
    const answer = await service.fetch('/batches', { method: 'POST', body: form });
    t.equal(answer.status, 201);
    const batch = (await answer.json()) as BatchAnswer;
    t.equal(answer.headers.get('location'), `/batches/${batch.id}`);
    t.match(batch, { options: { top_k: 2 }, metadata: { team: 'search' }, request_counts: { total: 2 } });
  }
});

t.test('forms that are wrong', async (t) => {
  const before = await stored();
  const file = () => new Blob([good]);
  const forms: [(form: FormData) => void, string, RegExp][] = [
    [(form) => form.append('top_k', '2'), 'bad_request', /no part named "file"/],
    [(form) => form.append('upload', file(), 'q.jsonl'), 'bad_request', /must be named "file"/],
    [
      (form) => {
        form.append('file', file(), 'a.jsonl');
        form.append('file', file(), 'b.jsonl');
      },
      'bad_request',
      /two files/,
    ],
    [
      (form) => {
        form.append('file', file(), 'a.jsonl');
        form.append('top_k', 'many');
      },
      'invalid_option',
      /"top_k"/,
    ],
  ];
  for (const [fill, code, words] of forms) {
    const form = new FormData();
    fill(form);
    const answer = await service.fetch('/batches', { method: 'POST', body: form });
    t.equal(answer.status, 400);
    const problem = await problemOf(answer);
    t.equal(problem.code, code);
    t.match(problem.detail, words);
  }
  const headers = { 'content-type': 'multipart/form-data' };
  const unbounded = await service.fetch('/batches', { method: 'POST', headers, body: 'x' });
  t.equal(unbounded.status, 400);
  t.match(await problemOf(unbounded), { code: 'bad_request', detail: /boundary/ });
  t.equal(await stored(), before);
});

t.test('an upload that breaks off leaves nothing', async (t) => {
  const before = await stored();
  for (const type of ['application/x-ndjson', 'multipart/form-data; boundary=b']) {
    const socket = connect(Number(port), '127.0.0.1');
    await once(socket, 'connect');
    const head = `POST /batches HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: ${type}\r\ncontent-length: 100000\r\n\r\n`;
    const part = type.startsWith('multi')
      ? '--b\r\ncontent-disposition: form-data; name="file"; filename="q"\r\n\r\n'
      : '';
    const rejected = () =>
      service.metric('ragmill_uploads_rejected_total{code="upload_incomplete"}').catch(() => 0);
    const rejectedBefore = await rejected();
    socket.write(`${head}${part}${questions(300)}\n`);
    await new Promise((resolve) => setImmediate(resolve));
    socket.destroy();
    await until('the upload to be given up', async () => (await rejected()) > rejectedBefore);
  }
  t.equal(await stored(), before);
});

t.test('unknown batches and routes', async (t) => {
  for (const [method, path] of [
    ['GET', '/batches/batch_none'],
    ['GET', '/batches/batch_none/results'],
    ['POST', '/batches/batch_none/cancel'],
    ['GET', '/batches?after=batch_none'],
  ] as const) {
    const answer = await service.fetch(path, { method });
    t.equal(answer.status, 404, path);
    t.equal((await problemOf(answer)).code, 'batch_not_found');
  }
  t.equal((await problemOf(await service.fetch('/nothing'))).code, 'not_found');
  for (const path of [
    '/batches?limit=0',
    '/batches?limit=x',
    '/batches/x/results?after=-1',
    '/batches/x/results?follow=maybe',
  ]) {
    const answer = await service.fetch(path);
    t.equal(answer.status, 400, path);
    t.equal((await problemOf(answer)).code, 'invalid_option');
  }
});

t.test('lists are paged from the newest on', async (t) => {
  const ids = [];
  for (let count = 0; count < 3; count += 1) ids.unshift((await service.upload(good)).id);
  interface Page {
    readonly data: readonly BatchAnswer[];
    readonly last_id: string;
    readonly has_more: boolean;
  }
  const first = await service.get<Page>('/batches?limit=2');
  const second = await service.get<Page>(`/batches?limit=1&after=${first.last_id}`);
  t.same(
    [...first.data, ...second.data].map((batch) => batch.id),
    ids,
  );
  t.equal(first.has_more, true);
});

t.test('cancel: running calls are aborted, finished lines stay, every other line is recorded', async (t) => {
  // Those that no line was claimed from yet are in no metric.
  await until('the batches of other tests to end', async () => {
    const { data } = await service.get<{ data: BatchAnswer[] }>('/batches?limit=100');
    return data.every(({ status }) => status === 'completed');
  });
  const first = server.requests.length;
  server.respond((request) =>
    request.index < first + 3 ? { kind: 'answer' } : { kind: 'answer', hold: true },
  );
  t.teardown(() => server.respond({ kind: 'answer' }));
  const { id } = await service.upload(questions(600));
  await until('three answers and a full window', async () => {
    return (await service.batch(id)).last_seq === 3 && server.inFlight === 4;
  });
  const following = service.allResults(id);
  const aborted = server.abortedCount;
  const answer = await service.fetch(`/batches/${id}/cancel`, { method: 'POST' });
  t.equal(answer.status, 200);
  t.match(await answer.json(), { status: 'cancelling' });
  const results = await following;
  t.equal(results.length, 600, 'the stream ends with the last record');
  t.equal(results.filter((result) => result.status === 'succeeded').length, 3);
  t.equal(results.filter((result) => result.error?.code === 'cancelled').length, 597);
  t.equal(new Set(results.map((result) => result.line)).size, 600);
  await server.until(() => server.abortedCount >= aborted + 4);
  t.match(await service.batch(id), {
    status: 'cancelled',
    line_counts: { succeeded: 3, cancelled: 597, leased: 0, queued: 0 },
  });
  const again = await service.fetch(`/batches/${id}/cancel`, { method: 'POST' });
  t.match(await again.json(), { status: 'cancelled' }, 'cancelling again changes nothing');
});

t.test('a batch that has completed cannot be cancelled; any body is fine', async (t) => {
  const { id } = await service.upload(good);
  await service.allResults(id);
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '' };
  const answer = await service.fetch(`/batches/${id}/cancel`, init);
  t.equal(answer.status, 409);
  t.equal((await problemOf(answer)).code, 'batch_finished');
});

t.test('a reader that goes away leaves no stream behind, and one that is slow delays nobody', async (t) => {
  server.respond({ kind: 'answer', hold: true });
  t.teardown(() => server.respond({ kind: 'answer' }));
  const { id } = await service.upload(questions(20));
  const gone = new AbortController();
  const streams = await Promise.all(
    Array.from({ length: 5 }, () => service.fetch(`/batches/${id}/results`, { signal: gone.signal })),
  );
  t.equal(streams.length, 5, 'the head of a stream comes before its first line');
  await until('five streams', async () => (await service.metric('ragmill_result_streams')) === 5);
  gone.abort();
  await until('no stream', async () => (await service.metric('ragmill_result_streams')) === 0);
  server.respond({ kind: 'answer' });
  server.release();
  t.equal((await service.allResults(id)).length, 20);
});

t.test('a page from elsewhere cannot drive a service on loopback', async (t) => {
  const ask = async (method: string, headers: Record<string, string>, path = '/batches') => {
    const asked = request({ host: '127.0.0.1', port, method, path, headers });
    asked.end();
    const [answer] = await once(asked, 'response');
    answer.resume();
    return answer.statusCode as number;
  };
  const here = `127.0.0.1:${port}`;
  t.equal(await ask('GET', { host: 'evil.example' }), 403, 'DNS rebinding');
  t.equal(await ask('GET', { host: `evil.example:${port}` }), 403);
  t.equal(await ask('GET', { host: '127.0.0.1.evil.example' }), 403);
  t.equal(await ask('GET', { host: `localhost:${port}` }), 200);
  t.equal(await ask('GET', { host: `[::1]:${port}` }), 200);
  const cancel = '/batches/batch_none/cancel';
  t.equal(await ask('POST', { host: here, origin: 'http://evil.example' }, cancel), 403, 'a forged post');
  t.equal(await ask('POST', { host: here, origin: 'null' }, cancel), 403);
  t.equal(await ask('POST', { host: here, origin: 'http://localhost:1' }, cancel), 403, 'another local page');
  t.equal(await ask('POST', { host: here, origin: `http://${here}` }, cancel), 404, 'its own page may');
  t.equal(await ask('POST', { host: here }, cancel), 404);
});

t.test('probes, metrics and documentation', async (t) => {
  t.match(await service.get('/livez'), { status: 'alive' });
  t.match(await service.get('/readyz'), {
    status: 'ready',
    reasons: [],
    degraded: [],
    collection_generation: 1,
  });
  const text = await (await service.fetch('/metrics')).text();
  for (const name of [
    'ragmill_ready 1',
    'ragmill_build_info{version=',
    'ragmill_endpoint_up{endpoint="gpu-0"} 1',
    'process_cpu_seconds_total',
  ]) {
    t.ok(text.includes(name), name);
  }
  const api = await service.get<{ paths: object }>('/openapi.json');
  t.ok('/batches/{id}/results' in api.paths);
  t.match(await (await service.fetch('/docs')).text(), /<html/i);
});
