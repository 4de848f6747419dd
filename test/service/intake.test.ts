// Intake in the whole service: what came compressed is answered, and the settings are in force.

import { zstdCompressSync } from 'node:zlib';
import t from 'tap';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { chromaUrl } from '../fakes/real-chroma.ts';
import { type BatchAnswer, launchService, questions, startService } from '../fakes/running-service.ts';

const CHROMA_URL = await chromaUrl(t);
const model = await startFakeModelServer();
t.teardown(() => model.close());
const where = { CHROMA_URL, GPU_ENDPOINTS: model.url };

t.test('a compressed upload is answered; then a dry run knows how long such things take', async (t) => {
  const service = await startService(t, where);
  const body = new Uint8Array(zstdCompressSync(questions(40)));
  const headers = { 'content-type': 'application/jsonl', 'content-encoding': 'zstd' };
  const first = await service.fetch('/batches', { method: 'POST', headers, body });
  const batch = (await first.json()) as BatchAnswer;
  const results = await service.allResults(batch.id);
  t.equal(results.filter(({ status }) => status === 'succeeded').length, 40);
  const dry = await service.post(questions(40), '?dry_run=true');
  const { estimated } = (await dry.json()) as { estimated: { seconds: number; prompt_tokens: number } };
  t.ok(estimated.seconds > 0);
  t.ok(estimated.prompt_tokens > 40);
});

t.test(
  'many more uploads at a time than there are places: each is stored or told to come again',
  async (t) => {
    const service = await launchService(t, { ...where, MAX_CONCURRENT_UPLOADS: '4' });
    const answers = await Promise.all(Array.from({ length: 16 }, () => service.post(questions(500))));
    const stored = answers.filter(({ status }) => status === 201);
    const busy = answers.filter(({ status }) => status === 429);
    t.ok(stored.length >= 4);
    t.equal(stored.length + busy.length, 16);
    t.ok(busy.every(({ headers }) => headers.has('retry-after')));
    t.equal((await service.post(questions(1))).status, 201);
    const { data } = await service.get<{ data: unknown[] }>('/batches?limit=100');
    t.equal(data.length, stored.length + 1);
  },
);

t.test('settings that leave no room refuse uploads, and nothing else', async (t) => {
  for (const [setting, code] of [
    [{ MAX_STORED_BYTES: '1' }, 'storage_limit'],
    [{ MIN_FREE_DISK_BYTES: String(Number.MAX_SAFE_INTEGER) }, 'storage_full'],
  ] as const) {
    const service = await launchService(t, { ...where, ...setting });
    const answer = await service.post(questions(1));
    t.equal(answer.status, 507);
    t.match(await answer.json(), { code });
    t.equal((await service.fetch('/batches')).status, 200);
  }
});
