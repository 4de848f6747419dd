// Files in the embedded store: what a restart leaves of them, the disk they give back, and stores of earlier releases.

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t, { type Test } from 'tap';
import { resultFileId } from '../../src/domain/file.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { chunk, options, record } from '../fakes/batch-fixtures.ts';
import { keptDataDir, keptSchemas, scratchFolder } from '../fakes/database-files.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { until } from '../fakes/until.ts';
import { checkedBatch, endLines, filesConformance, storedFile } from './files-conformance.ts';
import type { StoreUnderTest } from './store-conformance.ts';

async function openIn(t: Test, dataDir: string, clock = new ManualClock()): Promise<StoreUnderTest> {
  const store = await SqliteStore.open({ dataDir, clock });
  t.teardown(() => store.close());
  return { store, clock };
}

filesConformance(t, (t) => openIn(t, scratchFolder(t)));

const fileBatch = {
  inputFileId: 'file-in',
  endpoint: '/v1/completions',
  options,
  metadata: null,
  outputLifeSeconds: null,
} as const;

function observe(t: Test, dataDir: string) {
  const database = new DatabaseSync(join(dataDir, 'ragmill.sqlite'), { readOnly: true });
  t.teardown(() => database.close());
  return (sql: string) => Object.values(database.prepare(sql).get() ?? {})[0];
}

t.test('files are there after a restart, uploads that broke off are not', async (t) => {
  const dataDir = scratchFolder(t);
  const before = await openIn(t, dataDir);
  const file = await storedFile(before.store, 'file-in', ['first,', 'second']);
  await before.store.beginFile('file-broken');
  await before.store.appendFilePiece('file-broken', 0, Buffer.from('x'));
  await before.store.close();

  const { store } = await openIn(t, dataDir, before.clock);
  t.same(await store.getFile('file-in'), file);
  t.equal(String(await store.readFilePiece('file-in', 1)), 'second');
  await t.rejects(store.appendFilePiece('file-broken', 1, Buffer.from('y')), { code: 'upload_incomplete' });
  const one = observe(t, dataDir);
  await until('the broken upload to be removed', () => one('SELECT count(*) FROM files') === 1);
  t.equal(one('SELECT count(*) FROM file_pieces'), 2);
});

t.test('a batch that was checked when the process ended is still to be checked', async (t) => {
  const dataDir = scratchFolder(t);
  const before = await openIn(t, dataDir);
  await storedFile(before.store, 'file-in');
  await before.store.createFileBatch('batch_1', fileBatch);
  await before.store.appendChunk('batch_1', chunk(0, 1, 3));
  await before.store.close();

  const { store } = await openIn(t, dataDir, before.clock);
  t.same(await store.validatingBatches(), ['batch_1']);
  t.equal(await store.deleteFile('file-in'), 'in_use');
  await store.restartValidation('batch_1');
  await store.appendChunk('batch_1', chunk(0, 1, 2));
  t.match(await store.passValidation('batch_1', 1), { status: 'in_progress', total: 2 });
  await endLines(store, 'batch_1', [record(1), record(2)]);
  t.match(await store.getBatch('batch_1'), { status: 'completed', endpoint: '/v1/completions' });
});

t.test('a result file that was deleted is not back after a restart', async (t) => {
  const dataDir = scratchFolder(t);
  const before = await openIn(t, dataDir);
  await checkedBatch(before.store, 'batch_1', 2);
  await endLines(before.store, 'batch_1', [record(1), record(2, 'failed')]);
  await before.store.deleteFile(resultFileId('batch_1', 'output'));
  await before.store.close();

  const { store } = await openIn(t, dataDir, before.clock);
  t.equal(await store.getFile(resultFileId('batch_1', 'output')), null);
  t.match(await store.getFile(resultFileId('batch_1', 'error')), { bytes: 102 });
});

const MEBIBYTE = 1024 * 1024;

/** Random bytes, so that they are as large on the disk as here. */
async function writePieces(store: StoreUnderTest['store'], id: string): Promise<void> {
  await store.beginFile(id);
  for (let number = 0; number < 24; number += 1) {
    await store.appendFilePiece(id, number, randomBytes(MEBIBYTE));
  }
}

for (const [name, remove] of [
  ['was deleted', (store: StoreUnderTest['store']) => store.deleteFile('file-big')],
  ['has expired', (store: StoreUnderTest['store']) => store.expireFiles()],
] as const) {
  t.test(`a file that ${name} gives its disk back`, async (t) => {
    const dataDir = scratchFolder(t);
    const { store, clock } = await openIn(t, dataDir);
    await writePieces(store, 'file-big');
    await store.commitFile('file-big', { filename: 'big', lifeSeconds: 60 });
    if (name === 'has expired') await clock.advance(60_000);
    const one = observe(t, dataDir);
    const pages = Number(one('PRAGMA page_count'));
    await remove(store);
    await until('its pages to be given back', () => Number(one('PRAGMA page_count')) < pages / 2);
    await until('its pieces to be gone', () => one('SELECT count(*) FROM file_pieces') === 0);
    await until('the file to be remembered as deleted', () => one('SELECT status FROM files') === 'deleted');
  });
}

t.test('an upload of a file that was given up leaves no row', async (t) => {
  const dataDir = scratchFolder(t);
  const { store } = await openIn(t, dataDir);
  await writePieces(store, 'file-big');
  await store.abandonFile('file-big');
  const one = observe(t, dataDir);
  await until('its row to be gone', () => one('SELECT count(*) FROM files') === 0);
  t.equal(one('SELECT count(*) FROM file_pieces'), 0);
});

t.test('a deleted file is forgotten a month after its deletion', async (t) => {
  const dataDir = scratchFolder(t);
  const { store, clock } = await openIn(t, dataDir);
  await storedFile(store, 'file-old');
  await storedFile(store, 'file-kept-long');
  await store.deleteFile('file-old');
  await clock.advance(31 * 24 * 3600 * 1000);
  await storedFile(store, 'file-new');
  await store.deleteFile('file-kept-long');
  const one = observe(t, dataDir);
  const deleted = "SELECT group_concat(id) FROM files WHERE status = 'deleted'";
  await until('only the later one to be known', () => one(deleted) === 'file-kept-long');
  const after = { purpose: null, after: 'file-kept-long', limit: 9, order: 'asc' } as const;
  t.match((await store.listFiles(after)).files, [{ id: 'file-new' }]);
});

t.test('a batch that has failed or was cancelled in its check keeps no lines on the disk', async (t) => {
  const dataDir = scratchFolder(t);
  const { store } = await openIn(t, dataDir);
  await storedFile(store, 'file-in');
  for (const id of ['batch_1', 'batch_2']) {
    await store.createFileBatch(id, fileBatch);
    await store.appendChunk(id, chunk(0, 1, 3));
  }
  await store.failValidation('batch_1', []);
  await store.requestCancel('batch_2');
  const one = observe(t, dataDir);
  t.equal(one('SELECT count(*) FROM chunks'), 0);
  t.equal(one('SELECT count(*) FROM chunk_states'), 0);
});

for (const schema of keptSchemas) {
  t.test(`batches of schema ${schema} have no result files, and go on`, async (t) => {
    const { store } = await openIn(t, keptDataDir(t, { schema }));
    const { batches } = await store.listBatches({ after: null, limit: 100 });
    t.ok(batches.length > 0);
    for (const batch of batches) {
      t.match(batch, { outputBytes: null, errorBytes: null, endpoint: '/v1/chat/completions', errors: null });
      t.equal(batch.inProgressAt, batch.createdAt);
    }
    await endLines(store, 'batch_half_done', [record(2)]);
    t.match(await store.getBatch('batch_half_done'), { outputBytes: null, lineCounts: { succeeded: 3 } });
    t.same((await store.listFiles({ purpose: null, after: null, limit: 9, order: 'asc' })).files, []);
    const page = { kind: 'output', afterSeq: 0, limit: 9 } as const;
    t.same(
      (await store.readResponses('batch_half_done', page)).map(({ line, response }) => [line, response]),
      [
        [3, null],
        [1, null],
        [2, null],
      ],
    );
    await checkedBatch(store, 'batch_f1', 1);
    await endLines(store, 'batch_f1', [record(1)]);
    t.match(await store.getFile(resultFileId('batch_f1', 'output')), { bytes: 101 });
  });
}
