// Database files as they lie on the disk: copies of the kept ones, and what stands in them.

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Test } from 'tap';
import { openForWriting } from '../../src/store/sqlite-schema.ts';

export const FIXTURES = join(import.meta.dirname, '../fixtures');
export const PAGE_BYTES = 4096;
const ROOT = join(import.meta.dirname, '../..');

/** The schemas of which a database is kept. */
export const keptSchemas = readdirSync(FIXTURES)
  .flatMap((name) => /^schema-(\d+)\.sqlite$/.exec(name)?.[1] ?? [])
  .map(Number);

export function scratchFolder(t: Pick<Test, 'teardown'>, under = tmpdir()): string {
  const folder = mkdtempSync(join(under, 'ragmill-files-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A data folder with the database of an older release: of the newest one kept, unless the schema is named. */
export function keptDataDir(
  t: Pick<Test, 'teardown'>,
  options: { readonly schema?: number; readonly under?: string } = {},
): string {
  const folder = scratchFolder(t, options.under);
  const schema = options.schema ?? Math.max(...keptSchemas);
  copyFileSync(join(FIXTURES, `schema-${schema}.sqlite`), join(folder, 'ragmill.sqlite'));
  return folder;
}

/** The same in the schema of the present code, after a clean stop. */
export function currentDataDir(t: Pick<Test, 'teardown'>, options: { readonly under?: string } = {}): string {
  const folder = keptDataDir(t, options);
  const path = join(folder, 'ragmill.sqlite');
  openForWriting(path).close();
  for (const name of readdirSync(folder)) if (name.endsWith('.bak')) rmSync(join(folder, name));
  return folder;
}

export function query(path: string, sql: string) {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    return database.prepare(sql).all();
  } finally {
    database.close();
  }
}

/** Every byte of every result log. */
export function logsIn(path: string) {
  return query(
    path,
    'SELECT b.id, seq, line, r.status, body FROM records r JOIN batches b ON b.key = batch_key ORDER BY 1, 2',
  );
}

export function integrityOf(path: string) {
  return query(path, 'PRAGMA integrity_check')[0]?.integrity_check;
}

/** Overwrites the first page of a table or of an index. */
export function damageRoot(path: string, name: string): void {
  const root = Number(query(path, `SELECT rootpage FROM sqlite_schema WHERE name = '${name}'`)[0]?.rootpage);
  damagePage(path, root);
}

export function damagePage(path: string, page: number): void {
  const bytes = readFileSync(path);
  bytes.fill(0x55, (page - 1) * PAGE_BYTES, page * PAGE_BYTES);
  writeFileSync(path, bytes);
}

/** Runs a program that imports from the root, and kills it at that step of its work on files. */
export function runKilledAt(killAt: number, program: string, values: readonly string[]) {
  const preload = ['--import', './test/fakes/kill-at-step.ts', '--input-type=module'];
  const ended = spawnSync(process.execPath, [...preload, '-e', program, ...values], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, KILL_AT_STEP: String(killAt) },
  });
  if (ended.signal !== 'SIGKILL' && ended.status !== 0) throw new Error(ended.stderr);
  return { wasKilled: ended.signal === 'SIGKILL' };
}
