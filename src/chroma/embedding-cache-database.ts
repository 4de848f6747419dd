// The file of the embedding cache, as its thread uses it. It may be deleted at any time, and nothing in it is needed.
//
// 1. A vector is handed out only under the key of the embedder that made it, and only if its checksum fits.
// 2. What neither the last complete build nor the one before it has used is dropped, and its disk given back.
// 3. It is not synced: after a power cut it may be damaged, and then it is thrown away.

import { rmSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { isSameProbe, probeKey } from './embedder-probe.ts';

/** A build that asks the cache: the key of its vectors, and its number. */
export interface CacheBuild {
  readonly key: string;
  readonly number: number;
}

export interface CachedVector {
  readonly vector: Float32Array;
  /** Of a text that was too long for the embedder, as many of its characters as were embedded; null: all. */
  readonly cutTo: number | null;
}

const SCHEMA_VERSION = 1;
/** Large pages: a vector of 1,024 numbers fills four kilobytes. */
const SCHEMA = `
  PRAGMA page_size = 16384;
  PRAGMA auto_vacuum = INCREMENTAL;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = OFF;
  PRAGMA journal_size_limit = 16777216;
  BEGIN;
  CREATE TABLE IF NOT EXISTS builds (latest INTEGER NOT NULL, complete INTEGER NOT NULL, previous INTEGER NOT NULL);
  INSERT INTO builds SELECT 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM builds);
  CREATE TABLE IF NOT EXISTS embedders (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, probe BLOB NOT NULL, build INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS texts (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, hash BLOB NOT NULL, build INTEGER NOT NULL, cut_to INTEGER,
    checksum INTEGER NOT NULL, UNIQUE (hash, key));
  CREATE TABLE IF NOT EXISTS vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL);
  PRAGMA user_version = ${SCHEMA_VERSION};
  COMMIT;`;

/** Rows dropped in one transaction. */
const SLICE_ROWS = 1_000;
const VACUUM_PAGES = 1_024;

export class EmbeddingCacheDatabase {
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** Throws what SQLite throws, for a file that is damaged or of another version too. */
  constructor(path: string) {
    this.#path = path;
    this.#database = new DatabaseSync(path);
    try {
      const version = Number(this.#database.prepare('PRAGMA user_version').get()?.user_version);
      if (version !== 0 && version !== SCHEMA_VERSION) throw damage(`version ${version}`);
      this.#database.exec(SCHEMA);
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  static remove(path: string): void {
    for (const end of ['', '-wal', '-shm']) rmSync(`${path}${end}`, { force: true });
  }

  /** Starts a build with an embedder of this name and probe. */
  begin(name: string, probe: Float32Array): CacheBuild {
    return this.#transaction(() => {
      const number = Number(this.#get('UPDATE builds SET latest = latest + 1 RETURNING latest')?.latest);
      const known = this.#statement('SELECT key, probe FROM embedders WHERE name = ?')
        .all(name)
        .find(({ probe: reference }) => isSameProbe(probe, toVector(reference)));
      const key = known === undefined ? probeKey(name, probe) : String(known.key);
      this.#run(
        `INSERT INTO embedders (key, name, probe, build) VALUES (?, ?, ?, ?)
           ON CONFLICT (key) DO UPDATE SET build = excluded.build`,
        key,
        name,
        toBytes(probe),
        number,
      );
      return { key, number };
    });
  }

  /** What is there, in the order of the hashes; it counts as used by this build. */
  find(build: CacheBuild, hashes: readonly Uint8Array[]): (CachedVector | null)[] {
    return this.#transaction(() =>
      hashes.map((hash) => {
        const row = this.#get(
          `SELECT texts.id, vector, cut_to, checksum FROM texts JOIN vectors USING (id) WHERE hash = ? AND key = ?`,
          hash,
          build.key,
        );
        if (!(row?.vector instanceof Uint8Array) || crc32(row.vector) !== row.checksum) return null;
        this.#run('UPDATE texts SET build = ? WHERE id = ?', build.number, Number(row.id));
        return { vector: toVector(row.vector), cutTo: row.cut_to === null ? null : Number(row.cut_to) };
      }),
    );
  }

  keep(build: CacheBuild, hashes: readonly Uint8Array[], vectors: readonly CachedVector[]): void {
    this.#transaction(() => {
      for (const [index, { vector, cutTo }] of vectors.entries()) {
        const bytes = toBytes(vector);
        const row = this.#get(
          `INSERT INTO texts (key, hash, build, cut_to, checksum) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (hash, key) DO UPDATE
             SET build = excluded.build, cut_to = excluded.cut_to, checksum = excluded.checksum RETURNING id`,
          build.key,
          hashes[index] ?? null,
          build.number,
          cutTo,
          crc32(bytes),
        );
        this.#run('INSERT OR REPLACE INTO vectors (id, vector) VALUES (?, ?)', Number(row?.id), bytes);
      }
    });
  }

  /** The build has used all that it needs. */
  complete({ number }: CacheBuild): void {
    this.#run(
      'UPDATE builds SET previous = complete, complete = ?, latest = max(latest, ?) WHERE complete <> ?',
      number,
      number,
      number,
    );
  }

  /** Drops a piece of what is no longer used, or gives a piece of disk back; false: nothing is left to do. */
  shrink(): boolean {
    const dropped = this.#transaction(() => {
      const rows = this.#statement(
        'SELECT id FROM texts WHERE build < (SELECT previous FROM builds) LIMIT ?',
      ).all(SLICE_ROWS);
      for (const { id } of rows) {
        this.#run('DELETE FROM texts WHERE id = ?', Number(id));
        this.#run('DELETE FROM vectors WHERE id = ?', Number(id));
      }
      if (rows.length === 0) {
        this.#run('DELETE FROM embedders WHERE build < (SELECT previous FROM builds)');
      }
      return rows.length;
    });
    if (dropped > 0) return true;
    if (Number(this.#get('PRAGMA freelist_count')?.freelist_count) === 0) {
      this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      return false;
    }
    this.#database.exec(`PRAGMA incremental_vacuum(${VACUUM_PAGES})`);
    return true;
  }

  get freeDiskBytes(): number {
    const { bavail, bsize } = statfsSync(dirname(this.#path));
    return bavail * bsize;
  }

  close(): void {
    this.#database.close();
  }

  #transaction<T>(work: () => T): T {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const value = work();
      this.#database.exec('COMMIT');
      return value;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  #get(sql: string, ...values: SQLInputValue[]) {
    return this.#statement(sql).get(...values);
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
    this.#statement(sql).run(...values);
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known) return known;
    const statement = this.#database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}

/** SQLite's codes for a file that is damaged, or none of its own. Source: sqlite.org/rescode.html */
const CORRUPT = 11;
const NOT_A_DATABASE = 26;
const PRIMARY_MASK = 0xff;

/** Whether a file has to be begun anew. */
export function isDamage(error: unknown): boolean {
  if (!(error instanceof Error) || !('errcode' in error)) return false;
  const code = Number(error.errcode) & PRIMARY_MASK;
  return code === CORRUPT || code === NOT_A_DATABASE;
}

function damage(what: string): Error {
  return Object.assign(new Error(`the file is of ${what}`), { errcode: CORRUPT });
}

function toBytes(vector: Float32Array): Uint8Array {
  return new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
}

/** A copy, of its own buffer. */
function toVector(bytes: unknown): Float32Array {
  if (!(bytes instanceof Uint8Array) || bytes.byteLength % Float32Array.BYTES_PER_ELEMENT !== 0) {
    return new Float32Array(0);
  }
  return new Float32Array(Uint8Array.from(bytes).buffer);
}
