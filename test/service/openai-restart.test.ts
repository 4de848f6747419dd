// A service that dies while it takes and checks files: what was answered to the client holds at the next start.

import t from 'tap';
import { chatLine, OpenaiClient } from '../fakes/openai-client.ts';
import { chromaUrl } from '../fakes/real-chroma.ts';
import { QUIET, spawnService } from '../fakes/spawned-service.ts';

const CHROMA_URL = await chromaUrl(t);

t.test('a killed service goes on with the checks at its next start', async (t) => {
  // Nobody answers: what runs waits.
  const settings = { CHROMA_URL, GPU_ENDPOINTS: 'http://127.0.0.1:9' };
  const killed = spawnService(t as never, settings);
  await killed.ready(QUIET);
  const before = new OpenaiClient(killed.url);
  const many = Array.from({ length: 60_000 }, (_, index) => chatLine(`q${index}`, 'Why?'.repeat(50)));
  const good = await before.upload(many);
  const bad = await before.upload([...many, 'nonsense']);
  const batches = [await before.create(good.id), await before.create(bad.id), await before.create(good.id)];
  await killed.end('SIGKILL');

  const service = spawnService(t as never, settings, killed.folder);
  await service.ready(QUIET);
  const client = new OpenaiClient(service.url);
  const checked = await Promise.all(
    batches.map(({ id }) => client.until(id, 'the check', ({ status }) => status !== 'validating')),
  );
  t.match(checked, [
    { status: 'in_progress', request_counts: { total: 60_000 } },
    { status: 'failed', errors: { data: [{ code: 'invalid_json_line', line: 60_001 }] } },
    { status: 'in_progress', request_counts: { total: 60_000 } },
  ]);
  t.equal((await client.api.files.retrieve(good.id)).bytes, good.bytes);
});
