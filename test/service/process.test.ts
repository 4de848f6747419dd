// The service as a process: killed, stopped, started twice, started wrongly.

import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import t from 'tap';
import { ServiceProcess } from '../../src/cli/service-process.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { realChroma, succeeds } from '../fakes/real-chroma.ts';
import { corpusFile, questions } from '../fakes/running-service.ts';
import { post, QUIET, readBatch, readResults, spawnService, upload } from '../fakes/spawned-service.ts';
import { until } from '../fakes/until.ts';

/** Processes started by this one, by the kernel's word. */
function childrenOf(pid: number | undefined): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1]?.split(' ')[1] === String(pid);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function isRunning(pid: number): boolean {
  try {
    // A zombie has ended; it waits only for somebody to ask how.
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.[0] !== 'Z';
  } catch {
    return false;
  }
}

const onLinux = process.platform === 'linux' ? {} : { skip: 'reads /proc' };

t.test(
  'kill -9 in the middle of a batch: the next start finishes it, every line exactly once',
  onLinux,
  async (t) => {
    const server = await startFakeModelServer();
    t.teardown(() => server.close());
    server.respond((request) => (request.index < 120 ? { kind: 'answer' } : { kind: 'answer', hold: true }));
    const settings = { GPU_ENDPOINTS: server.url, GPU_CONCURRENCY: '8' };
    const killed = spawnService(t, settings);
    await killed.ready(QUIET);
    const id = await upload(killed, questions(400));
    await until('120 lines to be done', async () => (await readBatch(killed, id)).last_seq === 120);
    const before = await readResults(killed, id, '?follow=false');
    const children = childrenOf(killed.pid);
    t.ok(children.length > 0, 'Chroma runs as a child');
    await killed.end('SIGKILL');
    await until('its children to be gone', () => !children.some(isRunning));

    server.respond({ kind: 'answer' });
    const next = spawnService(t, settings, killed.folder);
    await next.ready(QUIET);
    const results = await readResults(next, id);
    t.equal(results.length, 400);
    t.equal(new Set(results.map((result) => result.custom_id)).size, 400);
    t.ok(results.every((result) => result.status === 'succeeded'));
    t.same(results.slice(0, 120), before, 'what was published stands as it was');
    t.ok(server.requests.length <= 400 + 8 + 2, 'only what was running ran again');
    t.match(await readBatch(next, id), { status: 'completed', collection_generations: [1, 2] });
  },
);

t.test('SIGTERM: running lines get their grace, streams break off, the exit is clean', onLinux, async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  server.respond({ kind: 'answer', hold: true });
  const service = spawnService(t, { GPU_ENDPOINTS: server.url, SHUTDOWN_GRACE_MS: '60000' });
  await service.ready(QUIET);
  const id = await upload(service, questions(20));
  await server.until(() => server.inFlight === 4);
  const stream = await fetch(`${service.url}/batches/${id}/results`);
  const reading = stream.text().then(
    () => 'whole',
    () => 'broken off',
  );
  const children = childrenOf(service.pid);
  const ended = service.end('SIGTERM');
  await until(
    'it to say that it is not ready',
    async () => (await fetch(`${service.url}/readyz`)).status === 503,
  );
  t.equal((await post(service, '{}')).status, 503, 'uploads are refused, and that is still said');
  server.release();
  t.equal(await ended, 0);
  t.equal(await reading, 'broken off', 'a part must not look like the whole');
  t.notOk(children.some(isRunning), 'nothing is left running');

  server.respond({ kind: 'answer' });
  const next = spawnService(t, { GPU_ENDPOINTS: server.url }, service.folder);
  await next.ready(QUIET);
  t.equal((await readResults(next, id)).length, 20);
  const asked = server.requests.filter((request) => request.state === 'answered').length;
  t.equal(asked, 20, 'what ended within the grace was kept');
});

t.test('two services run side by side', async (t) => {
  const [one, two] = [spawnService(t, { EMBEDDED_MODEL: 'on' }), spawnService(t, { EMBEDDED_MODEL: 'on' })];
  await Promise.all([one.ready(QUIET), two.ready(QUIET)]);
  t.not(one.url, two.url);
  const ids = [await upload(one, questions(5)), await upload(two, questions(7))];
  t.equal((await readResults(one, ids[0] ?? '')).length, 5);
  t.equal((await readResults(two, ids[1] ?? '')).length, 7);
});

t.test('a start that cannot succeed ends with one line that says why', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const address = taken.address();
  const port = typeof address === 'object' ? String(address?.port) : '';
  const running = spawnService(t, { EMBEDDED_MODEL: 'on' });
  await running.ready(QUIET);
  const starts: [Record<string, string>, string | undefined, RegExp, number][] = [
    [{ PORT: port }, undefined, /is taken\. Set PORT/, 1],
    [{ PORT: 'eighty', LOG_LEVEL: 'loud' }, undefined, /PORT must be integer; LOG_LEVEL/, 2],
    [{}, running.folder, /Another ragmill process uses/, 4],
    [{ CORPUS_PATH: '/nowhere' }, undefined, /The corpus \/nowhere cannot be read/, 1],
    [{ CHROMA_COLLECTION: 'a b' }, undefined, /CHROMA_COLLECTION/, 2],
    [{ CHROMA_URL: 'http://127.0.0.1:9', BOOTSTRAP_TIMEOUT_MS: '1' }, undefined, /127\.0\.0\.1:9/, 1],
    [{ GPU_ENDPOINTS: 'ftp://x' }, undefined, /GPU_ENDPOINTS/, 2],
  ];
  for (const [settings, folder, words, exitCode] of starts) {
    const service = new ServiceProcess(
      { CORPUS_PATH: corpusFile(t), ...settings },
      folder === undefined ? {} : { folder },
    );
    await t.rejects(service.ready(QUIET), { message: words });
    t.equal(await service.end('SIGTERM'), exitCode);
    if (folder === undefined) await service.stop();
  }
});

t.test('a collection that is not ours ends the start, and is left as it was', async (t) => {
  const chroma = await realChroma(t);
  const dump = () =>
    succeeds(
      chroma.call(
        async (client) => {
          const collection = await client.getCollection({ name: 'ragmill' });
          const { ids, documents, metadatas, embeddings } = await collection.get({
            include: ['documents', 'metadatas', 'embeddings'],
          });
          return JSON.stringify([collection.id, collection.metadata, ids, documents, metadatas, embeddings]);
        },
        { timeoutMs: 10_000 },
      ),
    );
  await succeeds(
    chroma.call(
      async (client) => {
        const theirs = await client.createCollection({ name: 'ragmill', embeddingFunction: null });
        await theirs.add({
          ids: ['a', 'b'],
          documents: ['one', 'two'],
          embeddings: [
            [1, 0.25],
            [0.5, 1],
          ],
        });
      },
      { timeoutMs: 10_000 },
    ),
  );
  const before = await dump();
  for (const RESET_COLLECTION of ['always', 'if-changed']) {
    const service = new ServiceProcess({
      CORPUS_PATH: corpusFile(t),
      CHROMA_URL: chroma.url,
      RESET_COLLECTION,
    });
    await t.rejects(service.ready(QUIET), { message: /"ragmill".*CHROMA_COLLECTION/ });
    t.equal(await service.end('SIGTERM'), 1);
    await service.stop();
  }
  t.equal(await dump(), before);
});
