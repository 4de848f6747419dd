// A copy of the whole store, made while the service runs and goes on writing.

import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { RagmillError } from '../errors.ts';
import { readThrough, schemaOf } from './database-check.ts';
import { fileBytes, putInPlace, removeFile } from './durable-files.ts';
import { toStoreFailure } from './sqlite-failures.ts';
import { readMigrations } from './sqlite-migrations.ts';
import { openForReading } from './sqlite-schema.ts';

/** What a copy holds. */
export interface BackupSummary {
  readonly batches: number;
  readonly records: number;
  readonly bytes: number;
}

/**
 * Leaves a copy of the database at one moment under `target`, whole or not at all. Throws `backup_exists` unless
 * `isForced`, `backup_unusable` for a target that cannot be written, and what keeps the database from being read.
 */
export function backUp(dataDir: string, target: string, isForced: boolean): BackupSummary {
  const source = join(dataDir, 'ragmill.sqlite');
  if (!existsSync(source)) {
    throw new RagmillError(
      'data_dir_unusable',
      `${source} does not exist. Set DATA_DIR as the service has it.`,
    );
  }
  checkTarget(source, target, isForced);
  const temporary = `${target}.partial`;
  try {
    const summary = copyDatabase(source, temporary);
    putInPlace(temporary, target);
    return summary;
  } catch (error) {
    removeFile(temporary);
    throw toBackupError(error, source, target);
  }
}

/** Copies the newest state of a database, its log included, to a file that stands for itself and was read through. */
export function copyDatabase(source: string, target: string): BackupSummary {
  removeFile(target);
  const database = openForReading(source);
  try {
    schemaOf(database, source, readMigrations().length);
    // One reading transaction: it sees one moment, and holds up nobody who writes.
    database.prepare('VACUUM INTO ?').run(target);
  } finally {
    database.close();
  }
  const copy = openForReading(target);
  try {
    readThrough(copy, target);
    return { ...count(copy), bytes: fileBytes(target) };
  } finally {
    copy.close();
  }
}

function toBackupError(error: unknown, source: string, target: string): RagmillError {
  if (error instanceof RagmillError) return error;
  const { code, message } = toStoreFailure(error, source);
  if (code === 'store_corrupt') return new RagmillError(code, message, { cause: error });
  if (code === 'storage_full') {
    return new RagmillError(code, `There is no room for ${target}. Free some space, or name another disk.`);
  }
  const what = error instanceof Error ? error.message : String(error);
  return new RagmillError('backup_unusable', `${target} could not be written: ${what}.`, { cause: error });
}

function checkTarget(source: string, target: string, isForced: boolean): void {
  const folder = dirname(target);
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new RagmillError('backup_unusable', `${folder} is no folder. Make it, or name another file.`);
  }
  const there = statSync(target, { throwIfNoEntry: false });
  if (!there) return;
  if (!there.isFile()) throw new RagmillError('backup_unusable', `${target} is no file. Name another one.`);
  const database = statSync(source);
  if (there.ino === database.ino && there.dev === database.dev) {
    throw new RagmillError('backup_unusable', `${target} is the database itself. Name another file.`);
  }
  if (!isForced) {
    throw new RagmillError('backup_exists', `${target} exists already. Name another file, or add --force.`);
  }
}

function count(database: DatabaseSync): { batches: number; records: number } {
  const row = database
    .prepare(
      `SELECT count(*) AS batches, coalesce(sum(last_seq), 0) AS records FROM batches
       WHERE status NOT IN ('uploading', 'discarding', 'deleting', 'deleted')`,
    )
    .get();
  return { batches: Number(row?.batches), records: Number(row?.records) };
}
