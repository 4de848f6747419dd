// A backup in the place of the database, with the replaced one kept. Killed at any point the data folder holds the
// old database or the restored one, and the same command again finishes the work.

import { constants, copyFileSync, existsSync, linkSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { RagmillError } from '../errors.ts';
import { type BackupSummary, copyDatabase } from './backup.ts';
import { lockDataDir } from './data-dir-lock.ts';
import { readThrough, schemaOf } from './database-check.ts';
import { fileBytes, putInPlace, removeFile, syncFile, syncFolder } from './durable-files.ts';
import { mergeLog } from './migration-backup.ts';
import { toStoreFailure } from './sqlite-failures.ts';
import { readMigrations } from './sqlite-migrations.ts';
import { openForReading } from './sqlite-schema.ts';

export interface Restored extends BackupSummary {
  /** The database that was replaced; null where there was none. */
  readonly keptAs: string | null;
}

/** Throws `data_dir_locked` while a service runs, `backup_unusable`, `schema_newer`, `storage_full`. */
export function restore(dataDir: string, backup: string, now: Date): Restored {
  if (!statSync(backup, { throwIfNoEntry: false })?.isFile()) {
    throw new RagmillError(
      'backup_unusable',
      `${backup} is no file. Name a file that npm run backup has made.`,
    );
  }
  const lock = lockDataDir(dataDir);
  const path = join(dataDir, 'ragmill.sqlite');
  const temporary = `${path}.restoring`;
  try {
    checkBackup(backup);
    const summary = copyDatabase(backup, temporary);
    syncFile(temporary);
    const keptAs = existsSync(path) ? keepReplaced(path, now) : null;
    // A log that is left behind would be taken for the restored database's own, and ruin it.
    for (const suffix of ['-wal', '-shm', '-journal']) removeFile(`${path}${suffix}`);
    syncFolder(dirname(path));
    putInPlace(temporary, path);
    return { ...summary, keptAs };
  } catch (error) {
    removeFile(temporary);
    if (toStoreFailure(error, path).code !== 'storage_full') throw error;
    throw new RagmillError(
      'storage_full',
      `There is no room for the backup in ${dataDir}. Nothing was changed.`,
    );
  } finally {
    lock.release();
  }
}

function checkBackup(backup: string): void {
  try {
    const database = openForReading(backup);
    try {
      if (schemaOf(database, backup, readMigrations().length) === 0) throw new Error('it is empty');
      readThrough(database, backup);
    } finally {
      database.close();
    }
  } catch (error) {
    if (error instanceof RagmillError && error.code === 'schema_newer') throw error;
    const what = error instanceof Error ? error.message : String(error);
    const help = 'Nothing was changed. Name another backup.';
    throw new RagmillError('backup_unusable', `${backup} cannot be used: ${what}. ${help}`, { cause: error });
  }
}

/** Gives the database and its log a second name, so that the first one is at no moment without a file. */
function keepReplaced(path: string, now: Date): string {
  const keptAs = `${path}.before-restore-${now.toISOString().replace(/[-:.]/g, '')}`;
  keep(path, keptAs);
  if (fileBytes(`${path}-wal`) > 0) keep(`${path}-wal`, `${keptAs}-wal`);
  try {
    // So that a kill after the log is removed, and before the rename, costs the old database nothing.
    mergeLog(path);
  } catch {
    // It is damaged, or no database: then it is kept as it is, with its log.
  }
  if (fileBytes(`${keptAs}-wal`) === 0) removeFile(`${keptAs}-wal`);
  return keptAs;
}

function keep(path: string, name: string): void {
  try {
    linkSync(path, name);
  } catch {
    // A file system without links.
    copyFileSync(path, name, constants.COPYFILE_FICLONE);
    syncFile(name);
  }
}
