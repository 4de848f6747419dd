// Stopping: whatever clients do, it comes to an end, and leaves nothing behind.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t from 'tap';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { launchService, questions, startService } from '../fakes/running-service.ts';
import { until } from '../fakes/until.ts';

t.test('a client that reads nothing and one that sends nothing hold up no stop', async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  server.respond({ kind: 'answer', text: 'x'.repeat(20_000) });
  const DATA_DIR = mkdtempSync(join(tmpdir(), 'ragmill-stop-'));
  t.teardown(() => rmSync(DATA_DIR, { recursive: true, force: true }));
  const service = await startService(t, { GPU_ENDPOINTS: server.url, GPU_CONCURRENCY: '32', DATA_DIR });
  const { port } = new URL(service.app.url);
  const { id } = await service.upload(questions(1500));
  await until('the batch to end', async () => (await service.batch(id)).status === 'completed');

  // More than the buffers of both ends hold, so that the stream stands still in the middle.
  const reading = request({ host: '127.0.0.1', port, path: `/batches/${id}/results` });
  reading.end();
  const [answer] = await once(reading, 'response');
  answer.pause();
  const broken = once(answer, 'error');
  const sending = connect(Number(port), '127.0.0.1');
  sending.on('error', () => {});
  sending.resume();
  const closed = once(sending, 'close');
  const head =
    'POST /batches HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-ndjson\r\ncontent-length: 9999\r\n\r\n';
  sending.write(`${head}${questions(1)}\n`);
  await until('both to be under way', async () => {
    const streams = await service.metric('ragmill_result_streams');
    return streams === 1 && sending.bytesWritten > head.length;
  });

  await service.app.stop();
  answer.resume();
  await broken;
  await closed;
  await service.app.stop();
  await t.rejects(service.fetch('/livez'), 'it listens no more');
  using store = new DatabaseSync(join(DATA_DIR, 'ragmill.sqlite'), { readOnly: true });
  const statuses = store.prepare('SELECT status FROM batches').all();
  t.notOk(
    statuses.some(({ status }) => status === 'uploading'),
    'the upload was given up before the store was closed',
  );
});

t.test('a stop that comes while the service is still starting leaves nothing', async (t) => {
  const DATA_DIR = mkdtempSync(join(tmpdir(), 'ragmill-stop-'));
  t.teardown(() => rmSync(DATA_DIR, { recursive: true, force: true }));
  // The second round shows that the first one left the data folder free.
  for (let round = 0; round < 2; round += 1) {
    const service = await launchService(t, { EMBEDDED_MODEL: 'on', DATA_DIR });
    t.equal((await service.fetch('/readyz')).status, 503, 'it listens before it is ready, and says so');
    await service.app.stop();
    await t.rejects(service.fetch('/livez'), 'it listens no more');
  }
});

t.test('lines cancelled before the collection is ready are recorded at once', async (t) => {
  // Nothing answers there, so the service never becomes ready.
  const service = await launchService(t, { EMBEDDED_MODEL: 'on', CHROMA_URL: 'http://127.0.0.1:9' });
  const { id } = await service.upload(questions(3));
  await until('it to wait for Chroma', async () =>
    /Chroma/.test((await service.batch(id)).progress.waiting_for ?? ''),
  );
  await service.fetch(`/batches/${id}/cancel`, { method: 'POST' });
  t.equal((await service.allResults(id)).length, 3);
  t.match(await service.batch(id), { status: 'cancelled' });
});
