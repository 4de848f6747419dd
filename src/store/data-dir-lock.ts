// One process per data folder. The lock is a file lock that the kernel frees at any death of the process, so a
// restart after a kill never waits, and every lease found in the folder is void.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { RagmillError } from '../errors.ts';

/** Of two starts at the same moment each may find the other half-way; this long they let each other try again. */
const LOCK_TIMEOUT_MS = 500;

/** SQLite's result code for a lock that somebody else holds. Source: sqlite.org/rescode.html#busy */
const SQLITE_BUSY = 5;

/** Held by this process: a database that nobody refers to is closed with the next collection of garbage, and its lock with it. */
const HELD = new Set<DatabaseSync>();

export interface DataDirLock {
  release(): void;
}

/** Creates the folder if need be. Throws `data_dir_locked` or `data_dir_unusable`. */
export function lockDataDir(dataDir: string): DataDirLock {
  let database: DatabaseSync | null = null;
  try {
    mkdirSync(dataDir, { recursive: true });
    database = new DatabaseSync(join(dataDir, 'lock.sqlite'), { timeout: LOCK_TIMEOUT_MS });
    // An exclusive transaction that never ends holds SQLite's own file lock, on every platform it runs on.
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database?.close();
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY) {
      throw new RagmillError(
        'data_dir_locked',
        `Another ragmill process uses ${dataDir}. Stop it, or give this one a DATA_DIR of its own.`,
        { cause: error },
      );
    }
    throw new RagmillError(
      'data_dir_unusable',
      `${dataDir} cannot be used: ${message}. Set DATA_DIR to a folder that this user may write.`,
      {
        cause: error,
      },
    );
  }
  const held = database;
  HELD.add(held);
  return {
    release() {
      HELD.delete(held);
      if (held.isOpen) held.close();
    },
  };
}
