// OpenAI's own client keeps files here.

import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { APIError, BadRequestError, NotFoundError, toFile } from 'openai';
import t from 'tap';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { chatLine, OpenaiClient } from '../fakes/openai-client.ts';
import { chromaUrl } from '../fakes/real-chroma.ts';
import { launchService } from '../fakes/running-service.ts';

const CHROMA_URL = await chromaUrl(t);
const server = await startFakeModelServer();
t.teardown(() => server.close());
const service = await launchService(t as never, {
  CHROMA_URL,
  GPU_ENDPOINTS: server.url,
  MAX_BATCH_BYTES: '4000000',
});
const client = new OpenaiClient(service.app.url);

t.test('a file comes back as it was sent, byte by byte', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ragmill-file-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'large.jsonl');
  const bytes = Buffer.alloc(3_500_000, 'Größe 答え 🚢 \r\n\0');
  writeFileSync(path, bytes);
  const file = await client.api.files.create({ file: createReadStream(path), purpose: 'batch' });
  t.match(file, { object: 'file', bytes: bytes.length, filename: 'large.jsonl', status: 'processed' });
  const answer = await client.api.files.content(file.id);
  t.equal(answer.headers.get('content-type'), 'application/octet-stream');
  t.equal(answer.headers.get('content-length'), String(bytes.length));
  t.ok(Buffer.from(await answer.arrayBuffer()).equals(bytes));
  t.same(await client.api.files.retrieve(file.id), file);
  t.same(await client.api.files.waitForProcessing(file.id), file);
});

t.test('an empty file is one', async (t) => {
  const file = await client.upload('');
  t.equal(file.bytes, 0);
  t.equal(await (await client.api.files.content(file.id)).text(), '');
});

t.test('a deleted file is gone', async (t) => {
  const { id } = await client.upload([chatLine('a', 'one')]);
  t.same(await client.api.files.delete(id), { id, object: 'file', deleted: true });
  for (const call of [
    () => client.api.files.retrieve(id),
    () => client.api.files.delete(id),
    () => client.api.files.content(id),
    () => client.create(id),
  ]) {
    const error = await Promise.resolve(call()).catch((thrown: unknown) => thrown);
    t.ok(error instanceof NotFoundError);
    t.match(error, { requestID: /./, code: null });
  }
  const listed = await Array.fromAsync(client.api.files.list());
  t.notOk(listed.some((file) => file.id === id));
});

t.test('the results of a batch are deleted as a file, and the batch stays', async (t) => {
  await service.ready();
  const { id } = await client.run([chatLine('a', 'one')], { metadata: { rag_mode: 'off' } });
  const { output_file_id } = await client.ended(id);
  t.ok(output_file_id);
  const outputs = await Array.fromAsync(client.api.files.list({ purpose: 'batch_output' }));
  t.same(
    outputs.map((file) => [file.id, file.purpose]),
    [[output_file_id, 'batch_output']],
  );
  const content = await (await client.api.files.content(String(output_file_id))).arrayBuffer();
  t.equal(outputs[0]?.bytes, content.byteLength);
  await client.api.files.delete(String(output_file_id));
  t.equal((await client.api.batches.retrieve(id)).output_file_id, null);
});

t.test('results that are kept for a while only', async (t) => {
  await service.ready();
  const { id } = await client.run([chatLine('a', 'one')], {
    metadata: { rag_mode: 'off' },
    output_expires_after: { anchor: 'created_at', seconds: 7200 },
  });
  const { output_file_id, completed_at } = await client.ended(id);
  const file = await client.api.files.retrieve(String(output_file_id));
  t.equal(file.expires_at, Number(completed_at) + 7200);
});

t.test('a life of its own', async (t) => {
  const file = await client.api.files.create({
    file: await toFile(Buffer.from('{}'), 'short.jsonl'),
    purpose: 'batch',
    expires_after: { anchor: 'created_at', seconds: 3600 },
  });
  t.equal(file.expires_at, file.created_at + 3600);
});

t.test('what is wrong with an upload is said with its name', async (t) => {
  const before = (await Array.fromAsync(client.api.files.list())).length;
  const blob = (name = 'a.jsonl') => toFile(Buffer.from('{}'), name);
  const after = (anchor: string, seconds: number) => ({ anchor, seconds }) as never;
  const cases: [object, string, RegExp][] = [
    [{ file: await blob(), purpose: 'fine-tune' }, 'purpose', /'batch'/],
    [{ file: await blob() }, 'purpose', /Missing/],
    [{ purpose: 'batch' }, 'file', /no part named "file"/],
    [{ file: await blob('a.csv'), purpose: 'batch' }, 'file', /Must be .jsonl/],
    [
      { file: await blob(), purpose: 'batch', expires_after: after('now', 3600) },
      'expires_after[anchor]',
      /./,
    ],
    [
      { file: await blob(), purpose: 'batch', expires_after: after('created_at', 9) },
      'expires_after[seconds]',
      /3600/,
    ],
  ];
  for (const [body, param, words] of cases) {
    const error = await client.api.files.create(body as never).catch((thrown: unknown) => thrown);
    t.ok(error instanceof BadRequestError, param);
    t.match(error, { param, message: words, requestID: /./ });
  }
  const tooLarge = await client.upload('x'.repeat(4_000_001)).catch((thrown: unknown) => thrown);
  t.ok(tooLarge instanceof APIError);
  t.match(tooLarge, { status: 413, type: 'invalid_request_error', code: 'too_large' });
  t.equal((await Array.fromAsync(client.api.files.list())).length, before, 'nothing is stored');
});

t.test('for await walks over files, in either order', async (t) => {
  const made: string[] = [];
  for (let index = 0; index < 25; index += 1) made.push((await client.upload('{}')).id);
  for (const order of ['asc', 'desc'] as const) {
    const listed: string[] = [];
    for await (const { id } of client.api.files.list({ limit: 10, order, purpose: 'batch' })) listed.push(id);
    t.equal(new Set(listed).size, listed.length);
    t.ok(made.every((id) => listed.includes(id)));
  }
  const first = await client.api.files.list({ limit: 1 });
  t.equal(first.data.length, 1);
  t.equal(first.has_more, true);
});
