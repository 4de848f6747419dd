// The main job through the real service: real Chroma, real store, fake model servers over real sockets.

import pino from 'pino';
import t from 'tap';
import { EmbeddedChroma } from '../../src/chroma/embedded-server.ts';
import { systemClock } from '../../src/time.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { chromaUrl } from '../fakes/real-chroma.ts';
import { questions, startService } from '../fakes/running-service.ts';
import { until } from '../fakes/until.ts';

const CHROMA_URL = await chromaUrl(t);

t.test('every line is answered from its own context, and the results are the whole log', async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  const service = await startService(t, {
    CHROMA_URL,
    GPU_ENDPOINTS: `gpu-a=${server.url}`,
    GPU_CONCURRENCY: '4',
  });
  const batch = await service.upload(questions(600), '?top_k=2&metadata={"team":"search"}');
  t.match(batch, {
    status: 'in_progress',
    metadata: { team: 'search' },
    options: { top_k: 2, rag_mode: 'retrieve' },
  });
  const results = await service.allResults(batch.id);
  t.same(
    results.map((result) => result.seq),
    Array.from({ length: 600 }, (_, index) => index + 1),
  );
  t.equal(new Set(results.map((result) => result.custom_id)).size, 600);
  const nearest = ['lens', 'ice', 'bread', 'violin', 'geese'];
  for (const result of results) {
    if (
      result.rag?.documents[0]?.id !== nearest[(result.line - 1) % 5] ||
      result.custom_id !== `q${result.line}`
    ) {
      t.fail('a line has the context of another', { result });
    }
  }
  t.match(results[0], { status: 'succeeded', generation: { endpoint: 'gpu-a', attempts: 1 }, error: null });
  t.ok(server.maxInFlight <= 4, 'a fixed window holds');
  const ended = await service.batch(batch.id);
  t.match(ended, {
    status: 'completed',
    last_seq: 600,
    line_counts: { succeeded: 600 },
    rag_counts: { success: 600 },
  });
  t.equal(await service.metric('ragmill_lines_total{outcome="succeeded",code="none"}'), 600);
});

t.test('an answer is out before the batch is done', async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  server.respond((request) => (request.index < 5 ? { kind: 'answer' } : { kind: 'answer', hold: true }));
  const service = await startService(t, { CHROMA_URL, GPU_ENDPOINTS: server.url });
  const { id } = await service.upload(questions(50));
  const results = service.results(id);
  for (let seq = 1; seq <= 5; seq += 1) t.match(await results.next(), { value: { seq } });
  t.match(await service.batch(id), { status: 'in_progress', line_counts: { succeeded: 5 } });
  server.respond({ kind: 'answer' });
  server.release();
  t.equal((await Array.fromAsync(results)).length, 45);
});

t.test('results by any cursor, in either order, of either status', async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  server.respond(({ body }) =>
    String(body.messages.at(-1)?.content).endsWith('makers resin?')
      ? { kind: 'status', status: 400, body: 'no' }
      : { kind: 'answer' },
  );
  const service = await startService(t, { CHROMA_URL, GPU_ENDPOINTS: server.url });
  const { id } = await service.upload(questions(20));
  const whole = await (await service.fetch(`/batches/${id}/results`)).text();
  const lines = whole.split('\n');
  for (const cut of [0, 1, 7, 20]) {
    const tail = await (await service.fetch(`/batches/${id}/results?after=${cut}`)).text();
    t.equal([...lines.slice(0, cut), tail].join('\n'), whole);
  }
  const inOrder = await service.allResults(id, '?order=input');
  t.same(
    inOrder.map((result) => result.line),
    Array.from({ length: 20 }, (_, index) => index + 1),
  );
  t.same(
    (await service.allResults(id, '?order=input&after=18')).map((result) => result.line),
    [19, 20],
  );
  const failed = await service.allResults(id, '?status=failed&order=input');
  t.same(
    failed.map((result) => result.line),
    [4, 9, 14, 19],
  );
  t.match(failed[0], { answer: null, error: { code: 'generation_rejected', stage: 'generation' } });
  t.equal((await service.allResults(id, '?status=succeeded')).length, 16);
});

t.test('a line that fails on one server is answered by another', async (t) => {
  const [bad, good] = [await startFakeModelServer(), await startFakeModelServer()];
  t.teardown(() => Promise.all([bad.close(), good.close()]));
  bad.respond({ kind: 'status', status: 500, body: 'boom' });
  const service = await startService(t, { CHROMA_URL, GPU_ENDPOINTS: `bad=${bad.url},good=${good.url}` });
  const { id } = await service.upload(questions(40));
  const results = await service.allResults(id);
  t.ok(results.every((result) => result.status === 'succeeded' && result.generation?.endpoint === 'good'));
  t.ok(bad.requests.length > 0, 'the bad one was tried');
});

t.test('a server that dies costs no line an attempt, and works again when it is back', async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  server.respond({ kind: 'answer', hold: true });
  const service = await startService(t, {
    CHROMA_URL,
    GPU_ENDPOINTS: server.url,
    GENERATION_MAX_ATTEMPTS: '1',
  });
  const { id } = await service.upload(questions(10));
  await server.until(() => server.inFlight === 4);
  await server.refuse();
  await until('the pool to notice', async () => (await service.batch(id)).progress.waiting_for !== null);
  t.match((await service.batch(id)).progress.waiting_for, /gpu-0/);
  server.respond({ kind: 'answer' });
  await server.accept();
  const results = await service.allResults(id);
  t.ok(results.every((result) => result.status === 'succeeded' && result.generation?.attempts === 1));
});

t.test('a full server is left alone for as long as it asks, and no line fails', async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  server.respond((request) =>
    request.index < 6
      ? { kind: 'status', status: 503, headers: { 'retry-after': '0' }, body: 'busy' }
      : { kind: 'answer' },
  );
  const service = await startService(t, {
    CHROMA_URL,
    GPU_ENDPOINTS: server.url,
    GENERATION_MAX_ATTEMPTS: '1',
  });
  const { id } = await service.upload(questions(10));
  t.ok((await service.allResults(id)).every((result) => result.status === 'succeeded'));
});

t.test('a question that shares no word with the corpus goes to the model alone', async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  const service = await startService(t, { CHROMA_URL, GPU_ENDPOINTS: server.url });
  const line = JSON.stringify({ custom_id: 'q1', query: 'Quantum chromodynamics?' });
  const answered = await service.upload(line);
  t.match(await service.allResults(answered.id), [
    { status: 'succeeded', rag: { status: 'soft_failure', documents: [] } },
  ]);
  t.equal(
    server.requests[0]?.body.messages.at(-1)?.content,
    'Quantum chromodynamics?',
    'the original query alone',
  );
  const failing = await service.upload(line, '?on_no_context=fail');
  t.match(await service.allResults(failing.id), [
    { status: 'failed', error: { code: 'no_context', stage: 'rag' } },
  ]);
  t.equal(server.requests.length, 1, 'generation is skipped');
});

t.test('rag_mode=off asks the model alone, and a line can say otherwise', async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  const service = await startService(t, { CHROMA_URL, GPU_ENDPOINTS: server.url });
  const lines = [
    { custom_id: 'off', query: 'keeper lens?', metadata: { n: 1 } },
    { custom_id: 'on', query: 'keeper lens?', rag_mode: 'retrieve', top_k: 1 },
  ];
  const { id } = await service.upload(lines.map((line) => JSON.stringify(line)).join('\n'), '?rag_mode=off');
  const [off, on] = await service.allResults(id, '?order=input');
  t.match(off, { custom_id: 'off', rag: null, metadata: { n: 1 } });
  t.match(on, { custom_id: 'on', rag: { status: 'success', documents: [{ id: 'lens' }] } });
});

t.test('an OpenAI line reaches the server with its body untouched and the context added', async (t) => {
  const server = await startFakeModelServer({ models: ['fake-model', 'other-model'] });
  t.teardown(() => server.close());
  const service = await startService(t, { CHROMA_URL, GPU_ENDPOINTS: server.url });
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'What does the keeper do to the lens?' },
  ];
  const body = { model: 'other-model', messages, top_p: 0.5, seed: 7 };
  const { id } = await service.upload(
    JSON.stringify({ custom_id: 'q1', method: 'POST', url: '/v1/chat/completions', body }),
  );
  t.match(await service.allResults(id), [{ status: 'succeeded', rag: { documents: [{ id: 'lens' }] } }]);
  const sent = server.requests[0]?.body;
  t.match(sent, { model: 'other-model', top_p: 0.5, seed: 7 });
  t.same([sent?.messages[0], sent?.messages[2]], messages);
  t.match(sent?.messages[1], { role: 'user', content: /<context>[\s\S]*polishes the lens/ });
});

t.test('a model that nobody serves fails the line and names those that are served', async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  const service = await startService(t, { CHROMA_URL, GPU_ENDPOINTS: server.url });
  const { id } = await service.upload(questions(1), '?model=llama-99');
  const [result] = await service.allResults(id);
  t.match(result?.error, { code: 'generation_misconfigured', message: /llama-99.*fake-model/ });
});

t.test(
  'without a model server the service is ready, says what it waits for, and goes on when one comes',
  async (t) => {
    const server = await startFakeModelServer();
    t.teardown(() => server.close());
    await server.refuse();
    const service = await startService(t, { CHROMA_URL, GPU_BASE_PORT: String(server.port) });
    t.match(await service.get('/readyz'), { status: 'ready', degraded: ['no_model_server'] });
    const { id } = await service.upload(questions(3));
    t.match((await service.batch(id)).progress.waiting_for, new RegExp(`${server.port}`));
    await server.accept();
    t.equal((await service.allResults(id)).length, 3);
    t.match(await service.get('/readyz'), { degraded: [] });
  },
);

t.test('retrieval that is gone fails the lines, and generation is never asked', async (t) => {
  const own = new EmbeddedChroma({
    dataDir: t.testdir(),
    log: pino({ level: 'silent' }),
    clock: systemClock,
  });
  const { url } = await own.start();
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  const service = await startService(t, {
    CHROMA_URL: url,
    GPU_ENDPOINTS: server.url,
    RAG_MAX_ATTEMPTS: '2',
    RAG_OUTAGE_MS: '500',
  });
  await own.stop();
  const { id } = await service.upload(questions(5));
  for (const result of await service.allResults(id)) {
    t.match(result, {
      status: 'failed',
      rag: { status: 'hard_failure' },
      error: { code: 'rag_unavailable', stage: 'rag' },
    });
  }
  t.equal(server.requests.length, 0);
  t.match(await service.batch(id), { status: 'completed', rag_counts: { hard_failure: 5 } });
});

t.test('a small batch is not stuck behind a huge one', async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  server.respond({ kind: 'answer', hold: true });
  const service = await startService(t, { CHROMA_URL, GPU_ENDPOINTS: server.url });
  const huge = await service.upload(questions(3000));
  await server.until(() => server.inFlight === 4);
  const small = await service.upload(questions(5));
  await until(
    'the small one to be claimed',
    async () => (await service.batch(small.id)).line_counts.leased === 5,
  );
  server.respond({ kind: 'answer' });
  server.release();
  t.equal((await service.allResults(small.id)).length, 5);
  t.equal((await service.batch(huge.id)).status, 'in_progress');
});
