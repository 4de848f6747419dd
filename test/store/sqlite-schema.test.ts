import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t, { type Test } from 'tap';
import { restore } from '../../src/store/restore.ts';
import { readMigrations } from '../../src/store/sqlite-migrations.ts';
import { openForWriting } from '../../src/store/sqlite-schema.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { systemClock } from '../../src/time.ts';
import { record } from '../fakes/batch-fixtures.ts';
import {
  FIXTURES,
  integrityOf,
  keptDataDir,
  keptSchemas,
  logsIn,
  query,
  runKilledAt,
  scratchFolder,
} from '../fakes/database-files.ts';
import { mountSmallDisk, needsSmallDisk } from '../fakes/small-disk.ts';
import { readContents } from '../fixtures/schema-fixtures.ts';

const known = readMigrations().length;

t.test('of every released schema a data folder is kept', async (t) => {
  for (let schema = 1; schema < known; schema += 1) t.ok(keptSchemas.includes(schema), `schema ${schema}`);
  t.ok(keptSchemas.every((schema) => schema <= known));
});

for (const schema of keptSchemas) {
  t.test(`a data folder of schema ${schema} is migrated without loss, and its work goes on`, async (t) => {
    const dataDir = keptDataDir(t, { schema });
    const path = join(dataDir, 'ragmill.sqlite');
    const logs = logsIn(path);
    const expected = JSON.parse(readFileSync(join(FIXTURES, `schema-${schema}.json`), 'utf8'));
    t.match(await readContents(dataDir), expected);
    t.same(logsIn(path), logs);
    t.equal(integrityOf(path), 'ok');
    t.same(query(path, 'PRAGMA foreign_key_check'), []);
    const backup = `${path}.schema-${schema}.bak`;
    if (schema === known) t.notOk(existsSync(backup), 'what is current needs no backup');
    else t.same(logsIn(backup), logs);
    await finishHalfDone(t, dataDir);
  });
}

async function finishHalfDone(t: Test, dataDir: string): Promise<void> {
  const store = await SqliteStore.open({ dataDir, clock: systemClock });
  t.teardown(() => store.close());
  const before = await store.readRecords('batch_half_done', { afterSeq: 0, limit: 100, currentOnly: false });
  for (const lines of [[2], [4, 5, 6]]) {
    const claimed = await store.claimChunk('batch_half_done');
    if (!claimed) throw new Error('nothing to claim');
    await store.appendRecords(
      claimed.lease,
      lines.map((line) => record(line)),
      new Map(),
    );
  }
  const batch = await store.getBatch('batch_half_done');
  t.match(batch, { status: 'completed', lastSeq: 6, lineCounts: { queued: 0, leased: 0, succeeded: 6 } });
  const after = await store.readRecords('batch_half_done', { afterSeq: 0, limit: 100, currentOnly: false });
  t.same(after.slice(0, before.length), before);
  t.same(
    after.map(({ seq }) => seq),
    [1, 2, 3, 4, 5, 6],
  );
}

/** A step that a later release may take: it makes a table anew, the way SQLite asks for. */
const NEXT = `CREATE TABLE batches_next (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, status TEXT, extra TEXT) STRICT;
  INSERT INTO batches_next SELECT key, id, status, 'new' FROM batches;
  DROP TABLE batches;
  ALTER TABLE batches_next RENAME TO batches;`;
const NEXT_MIGRATIONS = [...readMigrations(), NEXT];

t.test('the copy made before a migration is the way back', async (t) => {
  const dataDir = keptDataDir(t, { schema: 1 });
  const path = join(dataDir, 'ragmill.sqlite');
  const logs = logsIn(path);
  openForWriting(path, NEXT_MIGRATIONS).close();
  restore(dataDir, `${path}.schema-1.bak`, new Date());
  t.equal(query(path, 'PRAGMA user_version')[0]?.user_version, 1);
  t.same(logsIn(path), logs);
});

t.test('a step that makes a table anew loses no row that refers to it', async (t) => {
  const path = join(keptDataDir(t), 'ragmill.sqlite');
  const logs = logsIn(path);
  openForWriting(path, NEXT_MIGRATIONS).close();
  t.same(logsIn(path), logs);
  t.ok(logs.length > 0);
});

t.test('killed anywhere between its first and its last step, the next start migrates', async (t) => {
  const program = `
    const { openForWriting } = await import('./src/store/sqlite-schema.ts');
    openForWriting(process.argv[1], JSON.parse(process.argv[2])).close();`;
  let kills = 0;
  for (;;) {
    const path = join(keptDataDir(t), 'ragmill.sqlite');
    const logs = logsIn(path);
    if (!runKilledAt(kills + 1, program, [path, JSON.stringify(NEXT_MIGRATIONS)]).wasKilled) break;
    kills += 1;
    openForWriting(path, NEXT_MIGRATIONS).close();
    t.equal(integrityOf(path), 'ok');
    t.same(logsIn(path), logs);
    t.same(query(path, 'PRAGMA user_version')[0]?.user_version, known + 1);
    const beside = readdirSync(join(path, '..')).filter((name) => /bak|partial/.test(name));
    t.ok(
      beside.every((name) => name.endsWith('.bak')),
      'no half copy is left',
    );
    for (const name of beside) t.same(logsIn(join(path, '..', name)), logs);
  }
  t.ok(kills > 15, `killed at ${kills} steps`);
});

t.test('a step that fails changes nothing, says so, and leaves the way back', async (t) => {
  const path = join(keptDataDir(t), 'ragmill.sqlite');
  const logs = logsIn(path);
  const broken = [
    ...readMigrations(),
    'CREATE TABLE added (a); DELETE FROM records; INSERT INTO nowhere VALUES (1);',
  ];
  t.throws(() => openForWriting(path, broken), {
    code: 'migration_failed',
    message: /no such table.*as it was/,
  });
  const orphans = [...readMigrations(), "DELETE FROM batches WHERE id = 'batch_completed'"];
  t.throws(() => openForWriting(path, orphans), { code: 'migration_failed', message: /lost its batches/ });
  t.same(logsIn(path), logs);
  t.equal(query(path, 'PRAGMA user_version')[0]?.user_version, known);
  t.same(logsIn(`${path}.schema-${known}.bak`), logs);
});

t.test('without room for the copy the start ends, and nothing was changed', needsSmallDisk, async (t) => {
  const path = join(keptDataDir(t, { under: mountSmallDisk(t, 'size=150k') }), 'ragmill.sqlite');
  const before = readFileSync(path);
  t.throws(() => openForWriting(path, NEXT_MIGRATIONS), { code: 'storage_full', message: /Free some space/ });
  t.ok(readFileSync(path).equals(before));
  t.same(readdirSync(join(path, '..')), ['ragmill.sqlite']);
});

t.test('a newer schema is refused, and not a byte is changed', async (t) => {
  const folder = keptDataDir(t);
  const path = join(folder, 'ragmill.sqlite');
  const newer = new DatabaseSync(path);
  newer.exec(`PRAGMA journal_mode = DELETE; PRAGMA user_version = ${known + 1}`);
  newer.close();
  const before = readFileSync(path);
  t.throws(() => openForWriting(path), { code: 'schema_newer' });
  t.ok(readFileSync(path).equals(before), 'not even the journal mode');
  t.same(readdirSync(folder), ['ragmill.sqlite']);
});

t.test('a newer schema that stands in the log only is refused all the same', async (t) => {
  const path = join(keptDataDir(t), 'ragmill.sqlite');
  const log = `${path}-wal`;
  const newer = new DatabaseSync(path);
  newer.exec(`PRAGMA user_version = ${known + 1}`);
  const [before, logBefore] = [readFileSync(path), readFileSync(log)];
  newer.close();
  writeFileSync(path, before);
  writeFileSync(log, logBefore);
  t.throws(() => openForWriting(path), { code: 'schema_newer' });
  t.ok(readFileSync(path).equals(before));
  t.ok(readFileSync(log).equals(logBefore));
});

t.test("somebody else's database is refused", async (t) => {
  const folder = scratchFolder(t);
  const path = join(folder, 'ragmill.sqlite');
  const theirs = new DatabaseSync(path);
  theirs.exec('CREATE TABLE notes (text)');
  theirs.close();
  const before = readFileSync(path);
  t.throws(() => openForWriting(path), { code: 'data_dir_unusable', message: /not a database of ragmill/ });
  t.ok(readFileSync(path).equals(before));
});
