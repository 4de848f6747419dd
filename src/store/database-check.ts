// A look at a database file before anything is written to it: is it ours, which schema has it, is it whole?

import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { RagmillError } from '../errors.ts';
import { fileBytes } from './durable-files.ts';
import { describeDamage } from './sqlite-failures.ts';

/**
 * A file up to this size is read through after a stop that was not clean: about 1 GB a second from memory, so half a
 * second on a slow disk. A larger one is looked at by its tables only, so that its size never delays a start.
 */
const READ_THROUGH_BYTES = 64 * 1024 * 1024;

/**
 * Answers the schema of the file, null where there is none yet, and changes nothing. Throws `schema_newer`,
 * `store_corrupt`, `data_dir_unusable` for somebody else's database, or what SQLite throws.
 */
export function checkDatabase(path: string, knownSchema: number): number | null {
  const bytes = fileBytes(path);
  // A clean stop leaves the write-ahead log empty.
  const hasLog = fileBytes(`${path}-wal`) > 0;
  if (bytes === 0 && hasLog) {
    // SQLite would begin anew, and throw the log away.
    throw new RagmillError('store_corrupt', describeDamage(path, 'only its write-ahead log is there'));
  }
  if (bytes === 0) return null;
  const database = openUntouched(path, hasLog);
  try {
    const schema = schemaOf(database, path, knownSchema);
    checkTables(database);
    if (hasLog && bytes <= READ_THROUGH_BYTES) readThrough(database, path);
    return schema;
  } finally {
    database.close();
  }
}

/** Throws `schema_newer`, and `data_dir_unusable` where the tables are not ragmill's. */
export function schemaOf(database: DatabaseSync, path: string, knownSchema: number): number {
  const schema = Number(database.prepare('PRAGMA user_version').get()?.user_version);
  if (schema > knownSchema) {
    throw new RagmillError(
      'schema_newer',
      `${path} has schema ${schema}, this release knows ${knownSchema}. Run the newer release, or use another DATA_DIR.`,
    );
  }
  // Killed before its first migration a database of ours has no tables at all.
  const tables = tablesOf(database).map(({ name }) => name);
  if (tables.length > 0 && !(schema > 0 && tables.includes('batches'))) {
    throw new RagmillError(
      'data_dir_unusable',
      `${path} is not a database of ragmill. Set another DATA_DIR.`,
    );
  }
  return schema;
}

/** Reads every page. Throws `store_corrupt`. */
export function readThrough(database: DatabaseSync, path: string): void {
  const found = String(database.prepare('PRAGMA quick_check(1)').get()?.quick_check);
  if (found !== 'ok')
    throw new RagmillError('store_corrupt', describeDamage(path, found.replaceAll('\n', ' ')));
}

/** The way from the root of every table to its first and its last row. */
function checkTables(database: DatabaseSync): void {
  for (const { name, hasRowid } of tablesOf(database)) {
    database.prepare(`SELECT * FROM "${name}" LIMIT 1`).get();
    if (hasRowid) database.prepare(`SELECT * FROM "${name}" ORDER BY rowid DESC LIMIT 1`).get();
  }
}

function tablesOf(database: DatabaseSync): { name: string; hasRowid: boolean }[] {
  return database
    .prepare("SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
    .all()
    .map((row) => ({ name: String(row.name), hasRowid: row.wr === 0 }))
    .filter(({ name }) => !name.startsWith('sqlite_'));
}

/** Without a log there is nothing to recover, and then not even files for sharing it come to lie beside it. */
function openUntouched(path: string, hasLog: boolean): DatabaseSync {
  if (hasLog) return new DatabaseSync(path, { readOnly: true });
  const url = pathToFileURL(path);
  url.searchParams.set('immutable', '1');
  return new DatabaseSync(url, { readOnly: true });
}
