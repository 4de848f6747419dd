import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { chunk, options, record } from '../fakes/batch-fixtures.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { until } from '../fakes/until.ts';
import { lifecycleConformance } from './lifecycle-conformance.ts';
import { type StoreUnderTest, storeConformance } from './store-conformance.ts';

function scratchFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'ragmill-store-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function openScratch(t: Test): Promise<StoreUnderTest> {
  const clock = new ManualClock();
  const store = await SqliteStore.open({ dataDir: scratchFolder(t), clock });
  t.teardown(() => store.close());
  return { store, clock };
}

storeConformance(t, openScratch);
lifecycleConformance(t, openScratch);

t.test('a second process is kept out of the data folder, until the first has gone', async (t) => {
  const dataDir = scratchFolder(t);
  const clock = new ManualClock();
  const first = await SqliteStore.open({ dataDir, clock });
  await t.rejects(SqliteStore.open({ dataDir, clock }), { code: 'data_dir_locked' });
  await first.close();
  const second = await SqliteStore.open({ dataDir, clock });
  await second.close();
});

t.test('the disk of an upload that was given up is given back', async (t) => {
  const dataDir = scratchFolder(t);
  const store = await SqliteStore.open({ dataDir, clock: new ManualClock() });
  t.teardown(() => store.close());
  // Random bytes, so that they are as large on the disk as here.
  const text = () => randomBytes(1024 * 1024);
  await store.beginUpload('big', null);
  for (let number = 0; number < 48; number += 1) {
    await store.appendChunk('big', { ...chunk(number, number + 1, 1), text: text() });
  }
  const observer = new DatabaseSync(join(dataDir, 'ragmill.sqlite'), { readOnly: true });
  t.teardown(() => observer.close());
  const pages = () => Number(observer.prepare('PRAGMA page_count').get()?.page_count);
  const before = pages();
  await store.abandonUpload('big');
  await until('most of the file to be gone', () => pages() < before / 2);
});

t.test('a data folder that cannot be made says so', async (t) => {
  const file = join(scratchFolder(t), 'a-file');
  writeFileSync(file, '');
  await t.rejects(SqliteStore.open({ dataDir: join(file, 'data'), clock: new ManualClock() }), {
    code: 'data_dir_unusable',
  });
});

t.test(
  'records and marks that come soon after a message share one, whatever turn they come in',
  async (t) => {
    const { store } = await openScratch(t);
    await store.beginUpload('a', null);
    await store.appendChunk('a', chunk(0, 1, 3));
    await store.commitUpload('a', { options, metadata: null, inputBytes: 1, requestHash: null });
    // Soon, however busy the machine is.
    t.intercept(performance, 'now', { value: () => 1 });
    const claimed = await store.claimChunk('a');
    if (!claimed) throw new Error('nothing to claim');
    const messages = t.capture(Worker.prototype, 'postMessage', Worker.prototype.postMessage);
    const answers: Promise<unknown>[] = [];
    for (const line of [1, 2, 3]) {
      answers.push(store.markStarted(claimed.lease, [line]));
      answers.push(store.appendRecords(claimed.lease, [record(line)], new Map()));
      await nextTurn();
    }
    await Promise.all(answers);
    t.equal(messages().length, 1);
  },
);

t.test(
  'records that wait for others to share their commit go with the next operation, and with the end',
  async (t) => {
    const { store } = await openScratch(t);
    await store.beginUpload('a', null);
    await store.appendChunk('a', chunk(0, 1, 2));
    await store.commitUpload('a', { options, metadata: null, inputBytes: 1, requestHash: null });
    const claimed = await store.claimChunk('a');
    if (!claimed) throw new Error('nothing to claim');
    const stored: number[] = [];
    const append = (line: number) =>
      void store.appendRecords(claimed.lease, [record(line)], new Map()).then(() => stored.push(line));
    append(1);
    t.equal(await store.claimChunk('a'), null);
    t.same(stored, [1]);
    append(2);
    await store.close();
    t.same(stored, [1, 2]);
  },
);

t.test('what was stored is there after a restart; leases and broken-off uploads are not', async (t) => {
  const dataDir = scratchFolder(t);
  const clock = new ManualClock();
  const before = await SqliteStore.open({ dataDir, clock });
  await before.beginUpload('kept', null);
  await before.appendChunk('kept', chunk(0, 1, 3));
  await before.commitUpload('kept', { options, metadata: null, inputBytes: 1, requestHash: null });
  await before.beginUpload('broken', null);
  await before.appendChunk('broken', chunk(0, 1, 3));
  const claimed = await before.claimChunk('kept');
  if (!claimed) throw new Error('nothing to claim');
  await before.appendRecords(claimed.lease, [record(1)], new Map());
  const storeId = before.storeId;
  await before.close();

  const after = await SqliteStore.open({ dataDir, clock });
  t.teardown(() => after.close());
  t.equal(after.storeId, storeId);
  t.same((await after.getBatch('kept'))?.lineCounts, {
    queued: 2,
    leased: 0,
    succeeded: 1,
    failed: 0,
    cancelled: 0,
    expired: 0,
  });
  t.equal(await after.appendRecords(claimed.lease, [record(2)], new Map()), 'stale');
  t.match(await after.claimChunk('kept'), { finishedLines: [1] });
  await t.rejects(after.appendChunk('broken', chunk(1, 4, 1)), { code: 'upload_incomplete' });
  const observer = new DatabaseSync(join(dataDir, 'ragmill.sqlite'), { readOnly: true });
  t.teardown(() => observer.close());
  const rows = (id: string) => observer.prepare('SELECT key FROM batches WHERE id = ?').all(id).length;
  await until('the broken upload to be removed', () => rows('broken') === 0);
  t.equal(rows('kept'), 1);
});

t.test('a folder written by a newer release is refused and left as it is', async (t) => {
  const dataDir = scratchFolder(t);
  const clock = new ManualClock();
  await (await SqliteStore.open({ dataDir, clock })).close();
  const path = join(dataDir, 'ragmill.sqlite');
  const newer = new DatabaseSync(path);
  newer.exec('PRAGMA user_version = 999');
  newer.close();
  await t.rejects(SqliteStore.open({ dataDir, clock }), { code: 'schema_newer' });
  const untouched = new DatabaseSync(path);
  t.equal(untouched.prepare('PRAGMA user_version').get()?.user_version, 999);
  untouched.close();
});

t.test('starts that a dead process left are deaths of their lines; those given back are none', async (t) => {
  const dataDir = scratchFolder(t);
  const clock = new ManualClock();
  const suspects: (readonly number[])[] = [];
  for (let life = 0; life <= 4; life += 1) {
    const store = await SqliteStore.open({ dataDir, clock });
    if (life === 0) {
      await store.beginUpload('b1', null);
      await store.appendChunk('b1', chunk(0, 1, 4));
      await store.commitUpload('b1', { options, metadata: null, inputBytes: 1, requestHash: null });
    }
    const claimed = await store.claimChunk('b1');
    if (!claimed) throw new Error('nothing to claim');
    suspects.push(claimed.suspectLines);
    await store.markStarted(claimed.lease, [2]);
    // An orderly stop gives back what it had started.
    if (life === 1) await store.releaseChunk(claimed.lease);
    if (life === 4) {
      await store.appendRecords(claimed.lease, [record(2)], new Map());
      await store.releaseChunk(claimed.lease);
      t.same((await store.claimChunk('b1'))?.suspectLines, [], 'a line with a record is no suspect');
    }
    await store.close();
  }
  t.same(suspects, [[], [], [], [], [2]]);
});

t.test('a deleted batch gives its disk back', async (t) => {
  const dataDir = scratchFolder(t);
  const store = await SqliteStore.open({ dataDir, clock: new ManualClock() });
  t.teardown(() => store.close());
  await store.beginUpload('big', null);
  const text = () => randomBytes(512 * 1024).toString('base64');
  for (let number = 0; number < 24; number += 1) {
    await store.appendChunk('big', { ...chunk(number, number + 1, 1), text: Buffer.from(text()) });
  }
  await store.commitUpload('big', { options, metadata: null, inputBytes: 1, requestHash: null });
  for (let claimed = await store.claimChunk('big'); claimed; claimed = await store.claimChunk('big')) {
    const line = claimed.firstLine;
    const body = JSON.stringify({ line, answer: text() });
    await store.appendRecords(claimed.lease, [{ ...record(line), body }], new Map());
  }
  const before = await store.storedBytes();
  t.equal(await store.deleteBatch('big'), 'deleted');
  await until('its pages to be free', async () => (await store.storedBytes()) < before / 10);
});
