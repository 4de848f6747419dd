import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t, { type Test } from 'tap';
import { readMigrations } from '../../src/store/sqlite-migrations.ts';
import { openForWriting } from '../../src/store/sqlite-schema.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { systemClock } from '../../src/time.ts';
import { record } from '../fakes/batch-fixtures.ts';
import { mountSmallDisk, needsSmallDisk } from '../fakes/small-disk.ts';
import { readContents } from '../fixtures/schema-fixtures.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures');
const known = readMigrations().length;
const fixtures = readdirSync(FIXTURES).flatMap((name) => /^schema-(\d+)\.sqlite$/.exec(name)?.[1] ?? []);

/** A data folder with the database of an older release. */
function folderWith(t: Pick<Test, 'teardown'>, schema: string, under = tmpdir()): string {
  const folder = mkdtempSync(join(under, 'ragmill-schema-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  copyFileSync(join(FIXTURES, `schema-${schema}.sqlite`), join(folder, 'ragmill.sqlite'));
  return folder;
}

function query(path: string, sql: string) {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    return database.prepare(sql).all();
  } finally {
    database.close();
  }
}

const integrity = (path: string) => query(path, 'PRAGMA integrity_check')[0]?.integrity_check;
const LOGS =
  'SELECT b.id, seq, line, r.status, body FROM records r JOIN batches b ON b.key = batch_key ORDER BY 1, 2';

t.test('of every released schema a data folder is kept', async (t) => {
  for (let schema = 1; schema < known; schema += 1)
    t.ok(fixtures.includes(String(schema)), `schema ${schema}`);
  t.ok(fixtures.every((schema) => Number(schema) <= known));
});

for (const schema of fixtures) {
  t.test(`a data folder of schema ${schema} is migrated without loss, and its work goes on`, async (t) => {
    const dataDir = folderWith(t, schema);
    const path = join(dataDir, 'ragmill.sqlite');
    const logs = query(path, LOGS);
    const expected = JSON.parse(readFileSync(join(FIXTURES, `schema-${schema}.json`), 'utf8'));
    t.match(await readContents(dataDir), expected);
    t.same(query(path, LOGS), logs);
    t.equal(integrity(path), 'ok');
    t.same(query(path, 'PRAGMA foreign_key_check'), []);
    const backup = `${path}.schema-${schema}.bak`;
    if (Number(schema) === known) t.notOk(existsSync(backup), 'what is current needs no backup');
    else t.same(query(backup, LOGS), logs);
    await finishHalfDone(t, dataDir);
  });
}

async function finishHalfDone(t: Test, dataDir: string): Promise<void> {
  const store = await SqliteStore.open({ dataDir, clock: systemClock });
  t.teardown(() => store.close());
  const before = await store.readRecords('batch_half_done', { afterSeq: 0, limit: 100 });
  for (const lines of [[2], [4, 5, 6]]) {
    const claimed = await store.claimChunk('batch_half_done');
    if (!claimed) throw new Error('nothing to claim');
    await store.appendRecords(
      claimed.lease,
      lines.map((line) => record(line)),
    );
  }
  const batch = await store.getBatch('batch_half_done');
  t.match(batch, { status: 'completed', lastSeq: 6, lineCounts: { queued: 0, leased: 0, succeeded: 6 } });
  const after = await store.readRecords('batch_half_done', { afterSeq: 0, limit: 100 });
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
const newest = String(Math.max(...fixtures.map(Number)));

t.test('a step that makes a table anew loses no row that refers to it', async (t) => {
  const path = join(folderWith(t, newest), 'ragmill.sqlite');
  const logs = query(path, LOGS);
  openForWriting(path, NEXT_MIGRATIONS).close();
  t.same(query(path, LOGS), logs);
  t.ok(logs.length > 0);
});

t.test('killed anywhere between its first and its last step, the next start migrates', async (t) => {
  const program = `
    const { openForWriting } = await import('./src/store/sqlite-schema.ts');
    openForWriting(process.argv[1], JSON.parse(process.argv[2])).close();`;
  const root = join(import.meta.dirname, '../..');
  let kills = 0;
  for (;;) {
    const path = join(folderWith(t, newest), 'ragmill.sqlite');
    const logs = query(path, LOGS);
    const { status, signal, stderr } = spawnSync(
      process.execPath,
      [
        '--import',
        './test/fakes/kill-at-step.ts',
        '--input-type=module',
        '-e',
        program,
        path,
        JSON.stringify(NEXT_MIGRATIONS),
      ],
      { cwd: root, encoding: 'utf8', env: { ...process.env, KILL_AT_STEP: String(kills + 1) } },
    );
    if (status === 0) break;
    t.equal(signal, 'SIGKILL', stderr);
    kills += 1;
    openForWriting(path, NEXT_MIGRATIONS).close();
    t.equal(integrity(path), 'ok');
    t.same(query(path, LOGS), logs);
    t.same(query(path, 'PRAGMA user_version')[0]?.user_version, known + 1);
    const beside = readdirSync(join(path, '..')).filter((name) => /bak|partial/.test(name));
    t.ok(
      beside.every((name) => name.endsWith('.bak')),
      'no half copy is left',
    );
    for (const name of beside) t.same(query(join(path, '..', name), LOGS), logs);
  }
  t.ok(kills > 15, `killed at ${kills} steps`);
});

t.test('a step that fails changes nothing, says so, and leaves the way back', async (t) => {
  const path = join(folderWith(t, newest), 'ragmill.sqlite');
  const logs = query(path, LOGS);
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
  t.same(query(path, LOGS), logs);
  t.equal(query(path, 'PRAGMA user_version')[0]?.user_version, known);
  t.same(query(`${path}.schema-${known}.bak`, LOGS), logs);
});

t.test('without room for the copy the start ends, and nothing was changed', needsSmallDisk, async (t) => {
  const path = join(folderWith(t, newest, mountSmallDisk(t, 'size=100k')), 'ragmill.sqlite');
  const before = readFileSync(path);
  t.throws(() => openForWriting(path, NEXT_MIGRATIONS), { code: 'storage_full', message: /Free some space/ });
  t.ok(readFileSync(path).equals(before));
  t.same(readdirSync(join(path, '..')), ['ragmill.sqlite']);
});

t.test('a newer schema is refused, and not a byte is changed', async (t) => {
  const folder = folderWith(t, newest);
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
  const path = join(folderWith(t, newest), 'ragmill.sqlite');
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
  const folder = mkdtempSync(join(tmpdir(), 'ragmill-schema-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'ragmill.sqlite');
  const theirs = new DatabaseSync(path);
  theirs.exec('CREATE TABLE notes (text)');
  theirs.close();
  const before = readFileSync(path);
  t.throws(() => openForWriting(path), { code: 'data_dir_unusable', message: /not a database of ragmill/ });
  t.ok(readFileSync(path).equals(before));
});
