// Opening a database file: the settings every connection needs, and the road from any older schema to ours.

import { readdirSync, readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { RagmillError } from '../errors.ts';

const MIGRATIONS = new URL('./migrations/', import.meta.url);

/** How long a statement waits for another connection's lock. */
const BUSY_TIMEOUT_MS = 10_000;

/** Opens the one writing connection and brings the schema up to date. Throws `schema_newer`. */
export function openForWriting(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
  // Only an empty file takes auto_vacuum; without it deleted batches would never give disk back.
  database.exec('PRAGMA auto_vacuum = INCREMENTAL');
  database.exec('PRAGMA journal_mode = WAL');
  // FULL: an acknowledged upload is on the disk, not only in the page cache.
  database.exec('PRAGMA synchronous = FULL');
  database.exec('PRAGMA foreign_keys = ON');
  // The log is cut back to this size after a checkpoint.
  database.exec('PRAGMA journal_size_limit = 67108864');
  try {
    migrate(database);
  } catch (error) {
    database.close();
    throw error;
  }
  return database;
}

export function openForReading(path: string): DatabaseSync {
  return new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS, readOnly: true });
}

function migrate(database: DatabaseSync): void {
  const files = readdirSync(MIGRATIONS)
    .filter((name) => name.endsWith('.sql'))
    .sort();
  const version = Number(database.prepare('PRAGMA user_version').get()?.user_version ?? 0);
  if (version > files.length) {
    throw new RagmillError(
      'schema_newer',
      `The data folder has schema ${version}, this release knows ${files.length}. Run the newer release, or use another DATA_DIR.`,
    );
  }
  for (const [index, file] of files.entries()) {
    if (index < version) continue;
    database.exec('BEGIN IMMEDIATE');
    database.exec(readFileSync(new URL(file, MIGRATIONS), 'utf8'));
    database.exec(`PRAGMA user_version = ${index + 1}`);
    database.exec('COMMIT');
  }
}
