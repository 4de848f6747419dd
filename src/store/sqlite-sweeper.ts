// Removes what was deleted, bit by bit between the groups of operations, and gives the disk back: a batch of a
// million lines must not hold up everybody else's commits.

import type { DatabaseSync } from 'node:sqlite';
import { SqliteStatements } from './sqlite-statements.ts';

/** Rows removed in one transaction: a few megabytes of pages at most for usual records. */
const SLICE_ROWS = 1000;
/** Chunks and pieces of files hold up to a megabyte each. */
const SLICE_CHUNKS = 8;
/** Pages given back to the disk at a time: 16 MiB. */
const VACUUM_PAGES = 4096;
/** Wait after a step that failed: a full disk has no room to make room. */
const RETRY_INTERVAL_MS = 5_000;
/** How long a deleted batch is remembered as such. */
const TOMBSTONE_SECONDS = 30 * 24 * 3600;

const SLICES = [
  ['records', SLICE_ROWS],
  ['passages', SLICE_ROWS],
  ['chunks', SLICE_CHUNKS],
] as const;

/** A deleted file is remembered for a while, too: pages of a list go on after it. */
const DROP_OLD_FILES = `DELETE FROM files WHERE status = 'deleted' AND expires_at < (SELECT max(created_at) FROM files) - ?`;

export class SqliteSweeper {
  readonly #database: DatabaseSync;
  readonly #sql: SqliteStatements;
  readonly #abandon: (uploadId: string) => void;
  readonly #unabandoned = new Set<string>();
  #isRunning = false;
  #retry: NodeJS.Timeout | null = null;

  constructor(database: DatabaseSync, abandon: (uploadId: string) => void) {
    this.#database = database;
    this.#abandon = abandon;
    this.#sql = new SqliteStatements(database);
  }

  /** Something was deleted: works until nothing is left to remove, giving way to everybody else after each slice. */
  wake(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    setImmediate(() => this.#step());
  }

  /** An upload that nobody goes on with, and that could not be abandoned now: it is as soon as that works. */
  abandonLater(uploadId: string): void {
    this.#unabandoned.add(uploadId);
    this.wake();
  }

  #step(): void {
    let isMore = false;
    try {
      isMore =
        this.#database.isOpen &&
        (this.#abandonOne() || this.#removeSlice() || this.#removeFileSlice() || this.#giveBack());
    } catch {
      this.#retry ??= setTimeout(() => this.#again(), RETRY_INTERVAL_MS).unref();
    }
    this.#isRunning = isMore;
    if (isMore) setImmediate(() => this.#step());
  }

  #again(): void {
    this.#retry = null;
    this.wake();
  }

  /** false: none waits for it. */
  #abandonOne(): boolean {
    const [uploadId] = this.#unabandoned;
    if (uploadId === undefined) return false;
    this.#inTransaction(() => this.#abandon(uploadId));
    this.#unabandoned.delete(uploadId);
    return true;
  }

  /** false: nothing is left to remove. */
  #removeSlice(): boolean {
    const row = this.#sql.get(
      "SELECT key, status, created_at FROM batches WHERE status IN ('discarding', 'deleting') LIMIT 1",
    );
    if (!row) return false;
    const key = Number(row.key);
    this.#inTransaction(() => {
      if (!this.#removeRows(key)) this.#removeBatch(key, row.status === 'discarding');
    });
    return true;
  }

  /** false: nothing is left to remove. */
  #removeFileSlice(): boolean {
    const row = this.#sql.get(
      "SELECT key, status FROM files WHERE status IN ('discarding', 'deleting') LIMIT 1",
    );
    if (!row) return false;
    const key = Number(row.key);
    this.#inTransaction(() => {
      const removed = this.#sql.run(
        'DELETE FROM file_pieces WHERE rowid IN (SELECT rowid FROM file_pieces WHERE file_key = ? LIMIT ?)',
        key,
        SLICE_CHUNKS,
      );
      if (removed > 0) return;
      if (row.status === 'discarding') this.#sql.run('DELETE FROM files WHERE key = ?', key);
      else this.#sql.run("UPDATE files SET status = 'deleted' WHERE key = ?", key);
      this.#sql.run(DROP_OLD_FILES, TOMBSTONE_SECONDS);
    });
    return true;
  }

  #inTransaction(change: () => void): void {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      change();
      this.#database.exec('COMMIT');
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  #removeRows(key: number): boolean {
    return SLICES.some(
      ([table, rows]) =>
        this.#sql.run(
          `DELETE FROM ${table} WHERE rowid IN (SELECT rowid FROM ${table} WHERE batch_key = ? LIMIT ?)`,
          key,
          rows,
        ) > 0,
    );
  }

  /** An upload leaves nothing; of a batch stays that it was deleted. */
  #removeBatch(key: number, isUpload: boolean): void {
    this.#sql.run('DELETE FROM chunk_states WHERE batch_key = ?', key);
    this.#sql.run('DELETE FROM line_starts WHERE batch_key = ?', key);
    if (isUpload) this.#sql.run('DELETE FROM batches WHERE key = ?', key);
    else this.#sql.run("UPDATE batches SET status = 'deleted' WHERE key = ?", key);
    this.#sql.run(
      `DELETE FROM batches WHERE status = 'deleted' AND ended_at <
         (SELECT max(created_at) FROM batches) - ?`,
      TOMBSTONE_SECONDS,
    );
  }

  /** false: the file is as small as it needs to be. */
  #giveBack(): boolean {
    const free = Number(this.#sql.get('PRAGMA freelist_count')?.freelist_count);
    if (free < VACUUM_PAGES) return false;
    this.#database.exec(`PRAGMA incremental_vacuum(${VACUUM_PAGES})`);
    return true;
  }
}
