import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import t from 'tap';
import { backUp } from '../../src/store/backup.ts';
import { lockDataDir } from '../../src/store/data-dir-lock.ts';
import { restore } from '../../src/store/restore.ts';
import { openForWriting } from '../../src/store/sqlite-schema.ts';
import {
  currentDataDir,
  integrityOf,
  keptDataDir,
  logsIn,
  query,
  runKilledAt,
  scratchFolder,
} from '../fakes/database-files.ts';
import { mountSmallDisk, needsSmallDisk } from '../fakes/small-disk.ts';

const NOW = new Date('2026-11-25T03:30:15.123Z');
const KEPT = 'ragmill.sqlite.before-restore-20261125T033015123Z';
const databaseIn = (dataDir: string) => join(dataDir, 'ragmill.sqlite');

/** Takes something away, so that the database differs from every backup made before; it stays in the log. */
function changeAndCrash(dataDir: string): void {
  const path = databaseIn(dataDir);
  const database = openForWriting(path);
  database.exec(
    'DELETE FROM records WHERE status = \'failed\'; UPDATE batches SET metadata = \'{"is":"changed"}\'',
  );
  const [bytes, log] = [readFileSync(path), readFileSync(`${path}-wal`)];
  database.close();
  writeFileSync(path, bytes);
  writeFileSync(`${path}-wal`, log);
}

t.test('a backup holds what stands in the log too, and stands for itself', async (t) => {
  const dataDir = currentDataDir(t);
  const database = openForWriting(databaseIn(dataDir));
  database.exec("UPDATE records SET body = 'changed' WHERE seq = 1");
  const target = join(scratchFolder(t), 'a.backup');
  const summary = backUp(dataDir, target, false);
  t.same(summary, { batches: 4, records: 14, bytes: statSync(target).size });
  t.same(logsIn(target), logsIn(databaseIn(dataDir)));
  t.equal(integrityOf(target), 'ok');
  t.same(readdirSync(join(target, '..')), ['a.backup']);
  database.close();
});

t.test('a target that must not be written is refused', async (t) => {
  const dataDir = currentDataDir(t);
  const folder = scratchFolder(t);
  const target = join(folder, 'a.backup');
  writeFileSync(target, 'precious');
  t.throws(() => backUp(dataDir, target, false), { code: 'backup_exists', message: /--force/ });
  t.equal(readFileSync(target, 'utf8'), 'precious');
  t.throws(() => backUp(dataDir, databaseIn(dataDir), true), { code: 'backup_unusable', message: /itself/ });
  t.throws(() => backUp(dataDir, folder, true), { code: 'backup_unusable', message: /is no file/ });
  t.throws(() => backUp(dataDir, join(folder, 'no', 'file'), true), { code: 'backup_unusable' });
  t.throws(() => backUp(folder, join(folder, 'b'), true), { code: 'data_dir_unusable', message: /DATA_DIR/ });
  backUp(dataDir, target, true);
  t.same(logsIn(target), logsIn(databaseIn(dataDir)));
});

t.test('without room the backup says so and leaves nothing', needsSmallDisk, async (t) => {
  const disk = mountSmallDisk(t, 'size=32k');
  const target = join(disk, 'a.backup');
  t.throws(() => backUp(currentDataDir(t), target, false), { code: 'storage_full', message: /no room for/ });
  t.same(readdirSync(disk), []);
});

t.test('a damaged database is not backed up', async (t) => {
  const dataDir = currentDataDir(t);
  const folder = scratchFolder(t);
  truncateSync(databaseIn(dataDir), 8_192);
  t.throws(() => backUp(dataDir, join(folder, 'a.backup'), false), { code: 'store_corrupt' });
  t.same(readdirSync(folder), []);
});

t.test('a restore puts the backup in place and keeps what was there, its log included', async (t) => {
  const dataDir = currentDataDir(t);
  const backup = join(scratchFolder(t), 'a.backup');
  backUp(dataDir, backup, false);
  changeAndCrash(dataDir);
  const replaced = logsIn(databaseIn(dataDir));
  const restored = restore(dataDir, backup, NOW);
  t.match(restored, { batches: 4, records: 14, keptAs: join(dataDir, KEPT) });
  t.same(readdirSync(dataDir), ['lock.sqlite', 'ragmill.sqlite', KEPT]);
  t.same(logsIn(databaseIn(dataDir)), logsIn(backup));
  t.same(logsIn(join(dataDir, KEPT)), replaced);
  t.notSame(replaced, logsIn(backup));
  const database = openForWriting(databaseIn(dataDir));
  t.equal(database.prepare('PRAGMA auto_vacuum').get()?.auto_vacuum, 2, 'deleting gives disk back as before');
  database.close();
});

t.test('a damaged database is replaced, and kept with its log as it was', async (t) => {
  const dataDir = currentDataDir(t);
  const backup = join(scratchFolder(t), 'a.backup');
  backUp(dataDir, backup, false);
  writeFileSync(databaseIn(dataDir), 'no database');
  writeFileSync(`${databaseIn(dataDir)}-wal`, 'no log');
  restore(dataDir, backup, NOW);
  t.same(logsIn(databaseIn(dataDir)), logsIn(backup));
  t.equal(readFileSync(join(dataDir, KEPT), 'utf8'), 'no database');
  t.equal(readFileSync(join(dataDir, `${KEPT}-wal`), 'utf8'), 'no log');
  t.notOk(existsSync(`${databaseIn(dataDir)}-wal`));
});

t.test('a restore into a new folder makes it', async (t) => {
  const dataDir = join(scratchFolder(t), 'new', 'data');
  const backup = databaseIn(currentDataDir(t));
  t.match(restore(dataDir, backup, NOW), { keptAs: null });
  t.same(logsIn(databaseIn(dataDir)), logsIn(backup));
});

t.test('what cannot be restored changes nothing', async (t) => {
  const dataDir = currentDataDir(t);
  const folder = scratchFolder(t);
  const before = readFileSync(databaseIn(dataDir));
  const file = (name: string, write: (path: string) => void) => {
    const path = join(folder, name);
    copyFileSync(databaseIn(dataDir), path);
    write(path);
    return path;
  };
  const sql = (text: string) => (path: string) => {
    const database = new DatabaseSync(path);
    database.exec(text);
    database.close();
  };
  mkdirSync(join(folder, 'dir'));
  const page = Buffer.alloc(4096, 0x55);
  const damaged = file('damaged', (path) => {
    const bytes = readFileSync(path);
    page.copy(bytes, bytes.length - 4096);
    writeFileSync(path, bytes);
  });
  const cases: [string, { code: string; message?: RegExp }][] = [
    [join(folder, 'nowhere'), { code: 'backup_unusable', message: /is no file/ }],
    [join(folder, 'dir'), { code: 'backup_unusable', message: /is no file/ }],
    [
      file('text', (path) => writeFileSync(path, 'hello')),
      { code: 'backup_unusable', message: /not a database/ },
    ],
    [file('empty', (path) => writeFileSync(path, '')), { code: 'backup_unusable', message: /is empty/ }],
    [file('short', (path) => truncateSync(path, 20_000)), { code: 'backup_unusable' }],
    [damaged, { code: 'backup_unusable' }],
    [file('newer', sql('PRAGMA user_version = 999')), { code: 'schema_newer' }],
    [
      file('theirs', sql('DROP TABLE records; DROP TABLE chunks; DROP TABLE batches')),
      { code: 'backup_unusable' },
    ],
  ];
  for (const [backup, error] of cases) t.throws(() => restore(dataDir, backup, NOW), error);
  const good = file('good', () => {});
  const lock = lockDataDir(dataDir);
  t.throws(() => restore(dataDir, good, NOW), { code: 'data_dir_locked' });
  lock.release();
  t.ok(readFileSync(databaseIn(dataDir)).equals(before));
  t.same(readdirSync(dataDir), ['lock.sqlite', 'ragmill.sqlite']);
});

t.test('without room the restore says so and changes nothing', needsSmallDisk, async (t) => {
  const dataDir = keptDataDir(t, { under: mountSmallDisk(t, 'size=150k') });
  const before = readFileSync(databaseIn(dataDir));
  const backup = databaseIn(currentDataDir(t));
  t.throws(() => restore(dataDir, backup, NOW), { code: 'storage_full', message: /Nothing was changed/ });
  t.ok(readFileSync(databaseIn(dataDir)).equals(before));
  t.same(readdirSync(dataDir), ['lock.sqlite', 'ragmill.sqlite']);
});

t.test('a backup killed anywhere is whole or not there', async (t) => {
  const program = `
    const { backUp } = await import('./src/store/backup.ts');
    backUp(process.argv[1], process.argv[2], false);`;
  const dataDir = currentDataDir(t);
  const logs = logsIn(databaseIn(dataDir));
  let kills = 0;
  for (; ; kills += 1) {
    const target = join(scratchFolder(t), 'a.backup');
    const { wasKilled } = runKilledAt(kills + 1, program, [dataDir, target]);
    if (existsSync(target)) t.same(logsIn(target), logs);
    else backUp(dataDir, target, false);
    t.same(readdirSync(join(target, '..')), ['a.backup']);
    if (!wasKilled) break;
  }
  t.ok(kills > 8, `killed at ${kills} steps`);
});

t.test(
  'a restore killed anywhere leaves the old state or the restored one, and can be made again',
  async (t) => {
    const program = `
    const { restore } = await import('./src/store/restore.ts');
    restore(process.argv[1], process.argv[2], new Date());`;
    const backup = join(scratchFolder(t), 'a.backup');
    backUp(currentDataDir(t), backup, false);
    const restored = JSON.stringify(logsIn(backup));
    let kills = 0;
    for (; ; kills += 1) {
      const dataDir = currentDataDir(t);
      const path = databaseIn(dataDir);
      changeAndCrash(dataDir);
      const old = JSON.stringify(logsIn(path));
      const { wasKilled } = runKilledAt(kills + 1, program, [dataDir, backup]);
      t.ok([old, restored].includes(JSON.stringify(logsIn(path))), `step ${kills + 1}`);
      t.equal(integrityOf(path), 'ok');
      restore(dataDir, backup, new Date());
      t.equal(JSON.stringify(logsIn(path)), restored);
      t.notOk(existsSync(`${path}.restoring`));
      const kept = readdirSync(dataDir).filter((name) => /before-restore-\d+T\d+Z$/.test(name));
      t.ok(
        kept.some((name) => JSON.stringify(logsIn(join(dataDir, name))) === old),
        'what was replaced is kept',
      );
      if (!wasKilled) break;
    }
    t.ok(kills > 15, `killed at ${kills} steps`);
    t.same(query(backup, 'PRAGMA foreign_key_check'), []);
  },
);
