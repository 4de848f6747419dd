// The road from any older schema to ours. Every step is one transaction, its number included: a kill leaves the
// database before the step or behind it, and the next start goes on from there.

import { readdirSync, readFileSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { RagmillError } from '../errors.ts';
import { toStoreFailure } from './sqlite-failures.ts';

/** The SQL of each step, in order: the first one leads from an empty file to schema 1. */
export type Migrations = readonly string[];

const FOLDER = new URL('./migrations/', import.meta.url);

export function readMigrations(): Migrations {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.sql'))
    .sort()
    .map((name) => readFileSync(new URL(name, FOLDER), 'utf8'));
}

/**
 * The connection must not enforce foreign keys: a step that makes a table anew drops the old one, and its rows'
 * children would go with it. Throws `migration_failed`, with the database as it was before the step.
 */
export function migrate(database: DatabaseSync, migrations: Migrations): void {
  const version = Number(database.prepare('PRAGMA user_version').get()?.user_version);
  for (const [index, sql] of migrations.entries()) {
    if (index < version) continue;
    try {
      database.exec('BEGIN IMMEDIATE');
      database.exec(sql);
      const orphan = database.prepare('PRAGMA foreign_key_check').get();
      if (orphan) throw new Error(`a row of ${orphan.table} has lost its ${orphan.parent}`);
      database.exec(`PRAGMA user_version = ${index + 1}`);
      database.exec('COMMIT');
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      throw toMigrationError(error, index);
    }
  }
}

function toMigrationError(error: unknown, version: number): unknown {
  // A full disk or a damaged page is no fault of the step, and is said as what it is.
  if (toStoreFailure(error, '').code !== 'internal_error') return error;
  const what = error instanceof Error ? error.message : String(error);
  const message = `The database could not be brought from schema ${version} to ${version + 1}: ${what}.`;
  const help = 'It is as it was before. Run the release that wrote it, and report this.';
  return new RagmillError('migration_failed', `${message} ${help}`, { cause: error });
}
