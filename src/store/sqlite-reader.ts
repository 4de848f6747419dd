// The reading connection: short statements, each its own transaction, so that no reader holds back the log's
// checkpoints however slowly its client takes the answer. Batches here; their logs and lines, and files, stand beside.

import type { DatabaseSync } from 'node:sqlite';
import type { Batch } from '../domain/batch.ts';
import { type BatchStatus, endingOf } from '../domain/batch-status.ts';
import type { CollectionRecord } from '../domain/collection.ts';
import { RagmillError } from '../errors.ts';
import { SqliteFileReader } from './sqlite-file-reader.ts';
import { SqliteLineReader } from './sqlite-line-reader.ts';
import { SqliteLogReader } from './sqlite-log-reader.ts';
import { toBatch, toCollectionRecord, toOptions } from './sqlite-rows.ts';
import { SqliteStatements } from './sqlite-statements.ts';
import type { ActiveBatch } from './store.ts';

const VISIBLE = "status NOT IN ('uploading', 'discarding', 'deleting', 'deleted')";

export class SqliteReader {
  readonly log: SqliteLogReader;
  readonly lines: SqliteLineReader;
  readonly files: SqliteFileReader;
  readonly #database: DatabaseSync;
  readonly #sql: SqliteStatements;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#sql = new SqliteStatements(database);
    const keyOf = (batchId: string) => this.#key(batchId);
    this.log = new SqliteLogReader(this.#sql, keyOf);
    this.lines = new SqliteLineReader(this.#sql, keyOf);
    this.files = new SqliteFileReader(this.#sql);
  }

  storeId(): string {
    return String(this.#sql.get("SELECT value FROM meta WHERE key = 'store_id'")?.value);
  }

  /** Bytes of the pages that hold something. */
  storedBytes(): number {
    const pragma = (name: string) => Number(this.#sql.get(`PRAGMA ${name}`)?.[name]);
    return (pragma('page_count') - pragma('freelist_count')) * pragma('page_size');
  }

  batch(id: string, nowSeconds: number): Batch | null {
    const row = this.#sql.get(`SELECT * FROM batches WHERE id = ? AND ${VISIBLE}`, id);
    return row ? toBatch(row, nowSeconds) : null;
  }

  wasDeleted(id: string): boolean {
    return (
      this.#sql.get("SELECT 1 FROM batches WHERE id = ? AND status IN ('deleting', 'deleted')", id) !==
      undefined
    );
  }

  batches(
    { after, limit }: { after: string | null; limit: number },
    nowSeconds: number,
  ): { batches: Batch[]; hasMore: boolean } {
    const below = after === null ? Number.MAX_SAFE_INTEGER : this.#cursor(after);
    const rows = this.#sql.all(
      `SELECT * FROM batches WHERE key < ? AND ${VISIBLE} ORDER BY key DESC LIMIT ?`,
      below,
      limit + 1,
    );
    const batches = rows.slice(0, limit).map((row) => toBatch(row, nowSeconds));
    return { batches, hasMore: rows.length > limit };
  }

  activeBatches(): ActiveBatch[] {
    return this.#sql
      .all(
        `SELECT id, status, created_at, options FROM batches
         WHERE status IN ('in_progress', 'cancelling', 'finalizing') ORDER BY key`,
      )
      .map((row) => ({
        id: String(row.id),
        createdAt: Number(row.created_at),
        ending: endingOf(row.status as BatchStatus),
        options: toOptions(row.options),
      }));
  }

  validatingBatches(): string[] {
    return this.#sql
      .all("SELECT id FROM batches WHERE status = 'validating' ORDER BY key")
      .map((row) => String(row.id));
  }

  unfinishedBatches(): string[] {
    return this.#sql
      .all("SELECT id FROM batches WHERE status IN ('in_progress', 'paused') ORDER BY key")
      .map((row) => String(row.id));
  }

  expiringBatches(): { id: string; expiresAt: number }[] {
    return this.#sql
      .all(
        "SELECT id, expires_at FROM batches WHERE expires_at IS NOT NULL AND status IN ('in_progress', 'paused')",
      )
      .map((row) => ({ id: String(row.id), expiresAt: Number(row.expires_at) }));
  }

  endedBatches(before: number): string[] {
    return this.#sql
      .all(
        `SELECT id FROM batches WHERE status IN ('completed', 'cancelled', 'expired', 'failed') AND ended_at < ?
         ORDER BY ended_at LIMIT 100`,
        before,
      )
      .map((row) => String(row.id));
  }

  currentCollection(): CollectionRecord | null {
    const row = this.#sql.get('SELECT * FROM collections ORDER BY generation DESC LIMIT 1');
    return row ? toCollectionRecord(row) : null;
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  /** A page goes on after a batch that was deleted meanwhile, too. */
  #cursor(id: string): number {
    const row = this.#sql.get(
      "SELECT key FROM batches WHERE id = ? AND status NOT IN ('uploading', 'discarding')",
      id,
    );
    if (row) return Number(row.key);
    throw new RagmillError('batch_not_found', `No batch has the id ${id} that stands in "after".`);
  }

  #key(batchId: string): number {
    const row = this.#sql.get(`SELECT key FROM batches WHERE id = ? AND ${VISIBLE}`, batchId);
    if (!row) throw new RagmillError('batch_not_found', `No batch has the id ${batchId}.`);
    return Number(row.key);
  }
}
