// Opening a database file: looked at before it is touched, brought to our schema, and with the settings that every
// connection needs.

import { DatabaseSync } from 'node:sqlite';
import { checkDatabase } from './database-check.ts';
import { backUpBeforeMigration } from './migration-backup.ts';
import { type Migrations, migrate, readMigrations } from './sqlite-migrations.ts';

/** How long a statement waits for another connection's lock. */
const BUSY_TIMEOUT_MS = 10_000;

/** Opens the one writing connection. Throws what the look at the file finds, `migration_failed`, `storage_full`. */
export function openForWriting(path: string, migrations: Migrations = readMigrations()): DatabaseSync {
  const schema = checkDatabase(path, migrations.length);
  if (schema !== null && schema > 0 && schema < migrations.length) backUpBeforeMigration(path, schema);
  const database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: false });
  try {
    // Only an empty file takes auto_vacuum; without it deleted batches would never give disk back.
    database.exec('PRAGMA auto_vacuum = INCREMENTAL');
    database.exec('PRAGMA journal_mode = WAL');
    // FULL: an acknowledged upload is on the disk, not only in the page cache.
    database.exec('PRAGMA synchronous = FULL');
    // The log is cut back to this size after a checkpoint.
    database.exec('PRAGMA journal_size_limit = 67108864');
    migrate(database, migrations);
    database.exec('PRAGMA foreign_keys = ON');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

export function openForReading(path: string): DatabaseSync {
  return new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS, readOnly: true });
}
