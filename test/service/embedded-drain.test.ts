// A stop with the embedded Chroma: what is being retrieved has it until the work has ended.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { startService } from '../fakes/running-service.ts';

t.test('a stop fails no line for want of the Chroma that it ends', async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  const folder = mkdtempSync(join(tmpdir(), 'ragmill-drain-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const settings = {
    DATA_DIR: join(folder, 'data'),
    GPU_ENDPOINTS: server.url,
    GPU_CONCURRENCY: '2',
    // So short that a line would fail within the drain.
    RAG_OUTAGE_MS: '50',
    RAG_MAX_ATTEMPTS: '1',
  };
  const service = await startService(t, { ...settings, SHUTDOWN_GRACE_MS: '5000' });
  server.respond({ kind: 'answer', hold: true });
  const lines = Array.from({ length: 20_000 }, (_, index) =>
    JSON.stringify({
      custom_id: `q${index}`,
      query: `What about keeper lens ${index} and ice ${index * 7}?`,
    }),
  );
  const { id } = await service.upload(lines.join('\n'), '?max_failures=0');
  await server.until(() => server.inFlight === 2);
  await service.app.stop();
  const again = await startService(t, settings);
  const { line_counts } = await again.batch(id);
  t.equal(line_counts.failed, 0);
  await again.fetch(`/batches/${id}/cancel`, { method: 'POST' });
  server.respond({ kind: 'answer' });
  server.release();
});
