import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { lockDataDir } from '../../src/store/data-dir-lock.ts';
import { scratchFolder } from '../fakes/database-files.ts';
import { mountSmallDisk, needsSmallDisk } from '../fakes/small-disk.ts';

const ROOT = join(import.meta.dirname, '../..');

/** Takes the lock in a process of its own, which keeps it until it dies; answers what came of it. */
async function lockElsewhere(t: Test, dataDir: string) {
  const program = `
    const { lockDataDir } = await import('./src/store/data-dir-lock.ts');
    try { lockDataDir(process.argv[1]); console.log('locked'); } catch (error) { console.log(error.code); }
    setInterval(() => {}, 1_000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, dataDir], { cwd: ROOT });
  t.teardown(() => child.kill('SIGKILL'));
  const [word] = await once(child.stdout, 'data');
  return { child, word: String(word).trim() };
}

t.test('of many starts at the same moment exactly one wins', async (t) => {
  for (let round = 0; round < 5; round += 1) {
    const dataDir = scratchFolder(t);
    const starts = await Promise.all(Array.from({ length: 6 }, () => lockElsewhere(t, dataDir)));
    const words = starts.map(({ word }) => word).sort();
    t.same(words, [...Array.from({ length: 5 }, () => 'data_dir_locked'), 'locked']);
    for (const { child } of starts) child.kill('SIGKILL');
  }
});

t.test('the lock is free as soon as its process is dead, however it died', async (t) => {
  const dataDir = scratchFolder(t);
  const { child, word } = await lockElsewhere(t, dataDir);
  t.equal(word, 'locked');
  t.throws(() => lockDataDir(dataDir), { code: 'data_dir_locked' });
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
  lockDataDir(dataDir).release();
});

t.test('a folder whose name speaks of a lock is not taken for a locked one', async (t) => {
  const file = join(scratchFolder(t), 'locked');
  writeFileSync(file, '');
  t.throws(() => lockDataDir(file), { code: 'data_dir_unusable', message: /Set DATA_DIR to a folder/ });
});

t.test('a folder on a disk that is read-only says so', needsSmallDisk, async (t) => {
  const disk = mountSmallDisk(t, 'size=64k,ro');
  t.throws(() => lockDataDir(disk), { code: 'data_dir_unusable', message: /may write/ });
  t.throws(() => lockDataDir(join(disk, 'data')), { code: 'data_dir_unusable', message: /may write/ });
});

const asUser = process.getuid?.() === 0 ? { skip: 'root may write everywhere' } : {};
t.test('a folder without permission says so', asUser, async (t) => {
  const dataDir = join(scratchFolder(t), 'data');
  mkdirSync(dataDir);
  chmodSync(dataDir, 0o500);
  t.throws(() => lockDataDir(dataDir), { code: 'data_dir_unusable', message: /may write/ });
  t.same(readdirSync(dataDir), []);
});
