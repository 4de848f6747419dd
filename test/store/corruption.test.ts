import { copyFileSync, existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t, { type Test } from 'tap';
import { openForWriting } from '../../src/store/sqlite-schema.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { systemClock } from '../../src/time.ts';
import { record } from '../fakes/batch-fixtures.ts';
import {
  currentDataDir,
  damagePage,
  damageRoot,
  integrityOf,
  logsIn,
  PAGE_BYTES,
  query,
} from '../fakes/database-files.ts';
import { until } from '../fakes/until.ts';

const databaseIn = (dataDir: string) => join(dataDir, 'ragmill.sqlite');
const open = (dataDir: string) => SqliteStore.open({ dataDir, clock: systemClock });

async function opened(t: Test, dataDir: string): Promise<SqliteStore> {
  const store = await open(dataDir);
  t.teardown(() => store.close());
  return store;
}

const GROWN = 'batch_completed';

/** Some hundred records more for one batch. */
function growLog(path: string): void {
  const database = openForWriting(path);
  database.exec(`INSERT INTO records (batch_key, seq, line, run, status, is_current, end_offset, body)
    WITH n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
    SELECT (SELECT key FROM batches WHERE id = '${GROWN}'), i, i, 1, 'succeeded', 1, i, hex(randomblob(400)) FROM n`);
  database.close();
}

/** What a crash leaves: the file as it was, and a log with one change. */
function leaveLog(path: string, sql = "UPDATE batches SET metadata = '{}'"): void {
  const database = openForWriting(path);
  database.exec(sql);
  const [bytes, log] = [readFileSync(path), readFileSync(`${path}-wal`)];
  database.close();
  writeFileSync(path, bytes);
  writeFileSync(`${path}-wal`, log);
}

function keepOnlyLog(path: string): void {
  leaveLog(path);
  rmSync(path);
}

const damaged = { code: 'store_corrupt', message: /is damaged.*npm run restore -- <file>/ };

const damages: [string, (path: string) => void][] = [
  ['a file that is no database', (path) => writeFileSync(path, 'notes of mine\n'.repeat(1_000))],
  ['a damaged header', (path) => writeFileSync(path, readFileSync(path).fill(0xff, 0, 40))],
  ['a file that was cut off', (path) => truncateSync(path, 5 * PAGE_BYTES)],
  ['a damaged table', (path) => damageRoot(path, 'records')],
  ['a log without its database', keepOnlyLog],
];
for (const [what, damage] of damages) {
  t.test(`${what} ends the start with what to do, and nothing is changed`, async (t) => {
    const dataDir = currentDataDir(t);
    const path = databaseIn(dataDir);
    damage(path);
    const before = existsSync(path) ? readFileSync(path) : null;
    await t.rejects(open(dataDir), damaged);
    t.same(existsSync(path) ? readFileSync(path) : null, before);
    await t.rejects(open(dataDir), damaged, 'the lock was given back');
  });
}

t.test('after a stop that was not clean a small database is read through', async (t) => {
  const dataDir = currentDataDir(t);
  const path = databaseIn(dataDir);
  leaveLog(path);
  damageRoot(path, 'records_by_seq');
  await t.rejects(opened(t, dataDir), damaged);
});

t.test('a damaged page that is met while writing ends the store, and nothing more is written', async (t) => {
  const dataDir = currentDataDir(t);
  const path = databaseIn(dataDir);
  damageRoot(path, 'records_by_seq');
  const store = await opened(t, dataDir);
  const claimed = await store.claimChunk('batch_half_done');
  if (!claimed) throw new Error('nothing to claim');
  const append = store.appendRecords(claimed.lease, [record(2)], new Map());
  const neighbour = store.beginUpload('another', null);
  await t.rejects(append, damaged);
  await t.rejects(neighbour);
  t.match(await store.died, damaged);
  await t.rejects(store.beginUpload('later', null));
});

t.test('a damaged page that is met while reading ends the store', async (t) => {
  const dataDir = currentDataDir(t);
  const path = databaseIn(dataDir);
  growLog(path);
  // Between the first and the last page of the table, so that no start looks at it.
  const pages = query(
    path,
    "SELECT pageno FROM dbstat WHERE name = 'records' AND pagetype = 'leaf' ORDER BY path",
  );
  damagePage(path, Number(pages[Math.floor(pages.length / 2)]?.pageno));
  const store = await opened(t, dataDir);
  const page = { afterSeq: 0, limit: 1_000, currentOnly: false };
  const reading = (async () => {
    for (let records = await store.readRecords(GROWN, page); records.length > 0; ) {
      page.afterSeq = records.at(-1)?.seq ?? 0;
      records = await store.readRecords(GROWN, page);
    }
  })();
  await t.rejects(reading, damaged);
  t.match(await store.died, damaged);
});

t.test('another program that holds the database makes writing wait, then fail for the moment', async (t) => {
  const dataDir = currentDataDir(t);
  const store = await opened(t, dataDir);
  await store.beginUpload('given up', null);
  const holder = new DatabaseSync(databaseIn(dataDir), { timeout: 5_000 });
  holder.exec('BEGIN IMMEDIATE');
  const writes: Promise<unknown>[] = [store.abandonUpload('given up'), store.beginUpload('b1', null)];
  for (const write of writes) {
    await t.rejects(write, { code: 'storage_unavailable', message: /locked.*by itself/ });
  }
  t.equal((await store.listBatches({ after: null, limit: 10 })).batches.length, 4, 'reading goes on');
  holder.exec('COMMIT');
  holder.close();
  await store.beginUpload('b1', null);
  const left = () => query(databaseIn(dataDir), "SELECT id FROM batches WHERE id = 'given up'").length;
  await until('the upload to be gone all the same', () => left() === 0);
});

t.test('a clean stop leaves everything in the file itself', async (t) => {
  const dataDir = currentDataDir(t);
  const path = databaseIn(dataDir);
  const store = await open(dataDir);
  await store.requestCancel('batch_half_done');
  await store.close();
  const alone = join(dataDir, 'copy.sqlite');
  copyFileSync(path, alone);
  t.match(query(alone, "SELECT status FROM batches WHERE id = 'batch_half_done'"), [
    { status: 'cancelling' },
  ]);
});

t.test('an index of the log that is left over does no harm', async (t) => {
  const dataDir = currentDataDir(t);
  const path = databaseIn(dataDir);
  const logs = logsIn(path);
  writeFileSync(`${path}-shm`, Buffer.alloc(32_768, 0x55));
  await (await open(dataDir)).close();
  t.same(logsIn(path), logs);
});

t.test('a log that is no log is passed over', async (t) => {
  const dataDir = currentDataDir(t);
  const path = databaseIn(dataDir);
  const logs = logsIn(path);
  writeFileSync(`${path}-wal`, 'scribble'.repeat(10_000));
  await (await open(dataDir)).close();
  t.same(logsIn(path), logs);
  t.equal(integrityOf(path), 'ok');
});

t.test('a log cut off in the middle loses its last transaction only', async (t) => {
  const dataDir = currentDataDir(t);
  const path = databaseIn(dataDir);
  leaveLog(
    path,
    'UPDATE batches SET metadata = \'{"is":"first"}\'; UPDATE batches SET metadata = \'{"is":"second"}\'',
  );
  truncateSync(`${path}-wal`, readFileSync(`${path}-wal`).length - 100);
  await (await open(dataDir)).close();
  t.match(query(path, 'SELECT metadata FROM batches')[0], { metadata: '{"is":"first"}' });
});

t.test('the log of another database beside a file that was copied by hand is noticed', async (t) => {
  const dataDir = currentDataDir(t);
  const path = databaseIn(dataDir);
  const before = readFileSync(path);
  // The log of a database that has grown since: its pages mean nothing to the copy.
  growLog(path);
  leaveLog(path, "UPDATE records SET body = 'short' WHERE seq = 800");
  writeFileSync(path, before);
  await t.rejects(opened(t, dataDir), damaged);
});
