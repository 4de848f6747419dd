// The copy of a database that a start makes before it changes the schema: the way back to the older release.

import { constants, copyFileSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { RagmillError } from '../errors.ts';
import { fileBytes, putInPlace, removeFile } from './durable-files.ts';

/**
 * Leaves `<path>.schema-<schema>.bak`, whole or not at all; one that an interrupted start has made is made again.
 * Nobody else may have the database open. Throws `storage_full`, and then the copy is not begun.
 */
export function backUpBeforeMigration(path: string, schema: number): void {
  mergeLog(path);
  const target = `${path}.schema-${schema}.bak`;
  const temporary = `${target}.partial`;
  removeFile(temporary);
  requireSpace(path);
  try {
    // Where the file system can share the blocks of both files, the copy takes neither time nor space.
    copyFileSync(path, temporary, constants.COPYFILE_FICLONE);
    putInPlace(temporary, target);
  } catch (error) {
    removeFile(temporary);
    throw error;
  }
}

/** Brings the write-ahead log into the file, which then stands for itself. */
export function mergeLog(path: string): void {
  // Closing the last connection merges the log, too, but says nothing when it cannot.
  const database = new DatabaseSync(path);
  try {
    const result = database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get();
    if (result?.busy !== 0) {
      const help = 'Another program reads it: end that one.';
      throw new RagmillError('data_dir_unusable', `The log of ${path} cannot be merged. ${help}`);
    }
  } finally {
    database.close();
  }
}

function requireSpace(path: string): void {
  const { bavail, bsize } = statfsSync(dirname(path));
  const neededBytes = fileBytes(path);
  if (bavail * bsize >= neededBytes) return;
  throw new RagmillError(
    'storage_full',
    `This release changes the schema of ${path}, and keeps a copy of it first. That needs ${neededBytes} bytes ` +
      `on this disk, ${bavail * bsize} are free. Free some space; nothing was changed.`,
  );
}
