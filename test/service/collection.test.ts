// The collection through the API: searching it, looking at it, resetting it under running batches, attaching to one that is
// somebody else's, and outages of Chroma in the midst of a batch.

import { writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { faultyProxy } from '../fakes/faulty-proxy.ts';
import { chromaUrl } from '../fakes/real-chroma.ts';
import { corpusFile, launchService, questions, startService } from '../fakes/running-service.ts';
import { startTcpProxy } from '../fakes/tcp-proxy.ts';
import { until } from '../fakes/until.ts';

const CHROMA_URL = await chromaUrl(t);

interface Collection {
  readonly name: string;
  readonly state: string;
  readonly generation: number;
  readonly count: number;
  readonly waiting_for: string | null;
  readonly corpus: { readonly documents: number; readonly skipped: Record<string, number> } | null;
}

async function modelServer(t: Test) {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  return server;
}

function postJson(body: object): RequestInit {
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

t.test('a search finds what a line would be given, and filters by metadata', async (t) => {
  const CORPUS_PATH = corpusFile(t);
  const documents = ['en', 'de'].map((lang) => ({
    id: `lens-${lang}`,
    text: 'The keeper polishes the lens every morning.',
    metadata: { lang, year: 2020 },
  }));
  writeFileSync(CORPUS_PATH, documents.map((document) => JSON.stringify(document)).join('\n'));
  const server = await modelServer(t);
  const service = await startService(t, { CHROMA_URL, CORPUS_PATH, GPU_ENDPOINTS: server.url });
  const search = async (body: object) => {
    const answer = await service.fetch('/search', postJson(body));
    return { status: answer.status, body: (await answer.json()) as { passages?: { id: string }[] } };
  };
  t.match(await search({ query: 'Who polishes the lens?' }), {
    status: 200,
    body: { status: 'success', collection_generation: 1, passages: [{ text: /keeper/ }, { text: /keeper/ }] },
  });
  const german = await search({ query: 'lens', top_k: 5, where: { lang: 'de' } });
  t.match(german.body, { passages: [{ id: 'lens-de', chunk: 0 }] });
  t.equal(german.body.passages?.length, 1);
  t.match((await search({ query: 'lens', where: { lang: 'fr' } })).body, {
    status: 'soft_failure',
    code: 'nothing_found',
    passages: [],
  });
  t.match(await search({ query: 'lens', where: { lang: {} } }), {
    status: 400,
    body: { code: 'invalid_option' },
  });
  t.match(await search({ query: ' ' }), { status: 400 });
  t.match(await search({ query: 'lens', nonsense: 1 }), { status: 400 });

  const lines = JSON.stringify({ custom_id: 'a', query: 'lens', where: { lang: 'de' } });
  const own = await service.upload(`${lines}\n${JSON.stringify({ custom_id: 'b', query: 'lens' })}`);
  const documentsOf = async (id: string) =>
    Object.fromEntries(
      (await service.allResults(id)).map(({ custom_id, rag }) => [
        custom_id,
        rag?.documents.map((it) => it.id),
      ]),
    );
  t.match(await documentsOf(own.id), { a: ['lens-de'] });
  const where = encodeURIComponent('{"lang":"en"}');
  const whole = await service.upload(
    `${lines}\n${JSON.stringify({ custom_id: 'b', query: 'lens' })}`,
    `?where=${where}`,
  );
  t.same(await documentsOf(whole.id), { a: ['lens-de'], b: ['lens-en'] }, 'a line overrides its batch');
  t.match((await service.batch(whole.id)).options, { where: { lang: 'en' } });
  t.equal((await service.post(lines, '?where=lang')).status, 400);
  t.equal((await service.post(lines, `?where=${encodeURIComponent('{"$x":1}')}`)).status, 400);
});

t.test('a reset takes the corpus as it is now, and asks how unfinished batches go on', async (t) => {
  const CORPUS_PATH = corpusFile(t);
  const server = await modelServer(t);
  const service = await startService(t, {
    CHROMA_URL,
    CORPUS_PATH,
    GPU_ENDPOINTS: server.url,
    GPU_CONCURRENCY: '2',
  });
  const look = () => service.get<Collection>('/collection');
  const { name, ...first } = await look();
  t.match(first, { state: 'ready', generation: 1, count: 5, waiting_for: null, corpus: { documents: 5 } });
  const reset = (body: object) => service.fetch('/collection/reset', postJson(body));
  t.equal((await reset({ confirm: 'another' })).status, 400);

  server.respond({ kind: 'answer', hold: true });
  const { id } = await service.upload(questions(400));
  await server.until(() => server.inFlight === 2);
  const refused = await reset({ confirm: name });
  t.match(
    [refused.status, await refused.json()],
    [409, { code: 'collection_busy', detail: /unfinished_batches/ }],
  );
  t.notOk(refused.headers.has('retry-after'), 'waiting alone does not help');
  const text = 'The keeper polishes the lens with obsidian dust every morning.';
  writeFileSync(CORPUS_PATH, JSON.stringify({ id: 'obsidian', text }));
  t.equal((await reset({ confirm: name, unfinished_batches: 'continue' })).status, 202);
  await until('the new build', async () => (await look()).generation === 2);
  t.match(await look(), { state: 'ready', count: 1, corpus: { documents: 1 } });
  server.respond({ kind: 'answer' });
  server.release();
  const results = await service.allResults(id);
  t.ok(results.every(({ status }) => status === 'succeeded'));
  const found = results.flatMap(({ rag }) => rag?.documents.map((document) => document.id) ?? []);
  const old = results.filter(({ rag }) => rag?.documents.some((document) => document.id !== 'obsidian'));
  t.ok(old.length <= 4, `only what had been sent is answered from the old build (${old.length})`);
  t.ok(found.includes('obsidian'));

  server.respond({ kind: 'answer', hold: true });
  const paused = await service.upload(questions(50));
  await server.until(() => server.inFlight === 2);
  t.equal((await reset({ confirm: name, unfinished_batches: 'pause' })).status, 202);
  t.equal((await service.batch(paused.id)).status, 'paused');
  await until('the next build', async () => (await look()).generation === 3);
});

t.test('a reset that is refused pauses nothing', async (t) => {
  const server = await modelServer(t);
  server.respond({ kind: 'answer', hold: true });
  const settings = { CHROMA_URL, GPU_ENDPOINTS: server.url, GPU_CONCURRENCY: '2' };
  const service = await startService(t, settings);
  const { name } = await service.get<Collection>('/collection');
  const { id } = await service.upload(questions(50));
  await server.until(() => server.inFlight === 2);
  const reset = (how: string) =>
    service.fetch('/collection/reset', postJson({ confirm: name, unfinished_batches: how }));
  const [first, second] = await Promise.all([reset('continue'), reset('pause')]);
  t.same([first.status, second.status], [202, 409]);
  t.ok(second.headers.has('retry-after'));
  t.equal((await service.batch(id)).status, 'in_progress');
  server.respond({ kind: 'answer' });
  server.release();
});

t.test('a search that Chroma refuses is told as such, without where Chroma is', async (t) => {
  const proxy = await faultyProxy(t, CHROMA_URL);
  const server = await modelServer(t);
  const service = await startService(t, { CHROMA_URL: proxy.url, GPU_ENDPOINTS: server.url });
  let queries = 0;
  proxy.onRequest = (path) => {
    if (!path.endsWith('/query')) return { kind: 'pass' };
    queries += 1;
    // The second one is the probe, which succeeds.
    return queries === 1
      ? { kind: 'answer', status: 400, body: '{"message":"no such filter"}' }
      : { kind: 'pass' };
  };
  const answer = await service.fetch('/search', postJson({ query: 'lens', where: { lang: 'en' } }));
  const problem = await answer.text();
  t.match([answer.status, JSON.parse(problem)], [400, { code: 'invalid_option', detail: /no such filter/ }]);
  t.notOk(problem.includes(proxy.url));
});

t.test('Chroma goes away in the midst of a batch and comes back: nothing fails', async (t) => {
  const durationMs = Number(process.env.OUTAGE_MS ?? 3_000);
  const proxy = await startTcpProxy(t, Number(new URL(CHROMA_URL).port));
  const server = await modelServer(t);
  const service = await startService(t, {
    CHROMA_URL: proxy.url,
    GPU_ENDPOINTS: server.url,
    GPU_CONCURRENCY: '4',
  });
  proxy.onConnect = 'reset';
  proxy.reset();
  const { id } = await service.upload(questions(500));
  await until('readiness to say so', async () =>
    (await service.get<{ degraded: string[] }>('/readyz')).degraded.includes('chroma_unavailable'),
  );
  t.equal((await service.fetch('/readyz')).status, 200);
  t.match((await service.batch(id)).progress.waiting_for, /retrieval to work again/);
  t.match(await service.get('/collection'), { state: 'outage' });
  t.equal((await service.fetch('/search', postJson({ query: 'lens' }))).status, 503);
  t.ok((await service.metric('ragmill_retrieval_outage_seconds')) > 0);
  const endsAtMs = performance.now() + durationMs;
  await until('the outage to be long enough', () => performance.now() > endsAtMs, durationMs + 60_000);
  t.equal(server.requests.length, 0);
  proxy.onConnect = 'pass';
  for (const result of await service.allResults(id)) {
    t.match(result, { status: 'succeeded', rag: { status: 'success', attempts: 1 } });
  }
  t.match(await service.get('/readyz'), { degraded: [] });
});

t.test('a batch without retrieval does not wait for it', async (t) => {
  const proxy = await startTcpProxy(t, Number(new URL(CHROMA_URL).port));
  const server = await modelServer(t);
  server.respond({ kind: 'answer', hold: true });
  const service = await startService(t, { CHROMA_URL: proxy.url, GPU_ENDPOINTS: server.url });
  proxy.onConnect = 'reset';
  proxy.reset();
  const waiting = await service.upload(questions(5));
  await until('the outage', async () => (await service.get<Collection>('/collection')).state === 'outage');
  const free = await service.upload(questions(5), '?rag_mode=off');
  await server.until(() => server.inFlight > 0);
  t.equal((await service.batch(free.id)).progress.waiting_for, null);
  t.match((await service.batch(waiting.id)).progress.waiting_for, /retrieval to work again/);
  server.respond({ kind: 'answer' });
  server.release();
});

t.test('a pause gives back what waits for Chroma', async (t) => {
  const proxy = await startTcpProxy(t, Number(new URL(CHROMA_URL).port));
  const server = await modelServer(t);
  const service = await startService(t, { CHROMA_URL: proxy.url, GPU_ENDPOINTS: server.url });
  proxy.onConnect = 'reset';
  proxy.reset();
  const { id } = await service.upload(questions(300));
  await until('lines to wait', async () => (await service.batch(id)).line_counts.leased === 300);
  await service.fetch(`/batches/${id}/pause`, { method: 'POST' });
  await until(
    'all of them to be given back',
    async () => (await service.batch(id)).line_counts.queued === 300,
  );
  proxy.onConnect = 'pass';
  await service.fetch(`/batches/${id}/resume`, { method: 'POST' });
  t.ok((await service.allResults(id)).every(({ status }) => status === 'succeeded'));
});

t.test(
  'Chroma that is gone for good: lines fail after the wait, no model is asked, and the batch pauses',
  async (t) => {
    const proxy = await startTcpProxy(t, Number(new URL(CHROMA_URL).port));
    const server = await modelServer(t);
    const RAG_OUTAGE_MS = process.env.OUTAGE_LIMIT_MS ?? '500';
    const service = await startService(t, {
      CHROMA_URL: proxy.url,
      GPU_ENDPOINTS: server.url,
      RAG_OUTAGE_MS,
      RAG_MAX_ATTEMPTS: '2',
    });
    proxy.onConnect = 'reset';
    proxy.reset();
    const all = await service.upload(questions(300), '?max_failures=0');
    for (const result of await service.allResults(all.id)) {
      t.match(result, {
        status: 'failed',
        rag: { status: 'hard_failure', attempts: 2 },
        error: { code: 'rag_unavailable', stage: 'rag' },
      });
    }
    t.match(await service.batch(all.id), { status: 'completed', rag_counts: { hard_failure: 300 } });
    // Different ones: equal questions fail together, and then nothing is left to pause.
    const different = Array.from({ length: 3_000 }, (_unused, index) =>
      JSON.stringify({ custom_id: `q${index}`, query: `Who polishes lens ${index}?` }),
    );
    const half = await service.upload(different.join('\n'));
    await until('the batch to pause', async () => (await service.batch(half.id)).status === 'paused');
    t.match(await service.batch(half.id), {
      pause_reason: { code: 'max_failures', message: /rag_unavailable/ },
    });
    t.equal(server.requests.length, 0);
  },
);

t.test('a corpus that is unreadable or empty is refused before anything is deleted', async (t) => {
  const server = await modelServer(t);
  const CHROMA_COLLECTION = 'refused';
  const settings = { CHROMA_URL, CHROMA_COLLECTION, GPU_ENDPOINTS: server.url };
  const CORPUS_PATH = corpusFile(t);
  const service = await startService(t, { ...settings, CORPUS_PATH });
  const { name } = await service.get<Collection>('/collection');
  for (const text of ['', '{"id":"x"}\n']) {
    writeFileSync(CORPUS_PATH, text);
    t.equal((await service.fetch('/collection/reset', postJson({ confirm: name }))).status, 202);
    await until(
      'the reset to fail',
      async () => (await service.get<Collection>('/collection')).state === 'ready',
    );
    t.match(await service.get('/collection'), { generation: 1, count: 5, last_error: /corpus/ });
  }
  const other = await launchService(t, { ...settings, CORPUS_PATH: '/nonexistent' });
  t.match(await other.app.failed, { code: 'corpus_unreadable' });
  t.match(await (await service.fetch('/search', postJson({ query: 'keeper lens' }))).json(), {
    status: 'success',
  });
});
