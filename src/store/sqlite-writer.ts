// Every change of the database, as one synchronous operation each. Runs in the writing thread, inside the
// transaction that the thread opens around a group of operations.

import { randomUUID } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import type { ValidationError } from '../domain/batch.ts';
import type { ClaimedChunk, Lease, NewChunk } from '../domain/chunk.ts';
import type { CollectionRecord } from '../domain/collection.ts';
import type { StoredFile } from '../domain/file.ts';
import type { KeptPassage, NewRecord } from '../domain/record.ts';
import { createFileBatch, restartValidation } from './sqlite-file-batches.ts';
import { SqliteFiles } from './sqlite-files.ts';
import { SqliteLeases } from './sqlite-leases.ts';
import { SqliteLifecycle } from './sqlite-lifecycle.ts';
import { SqliteRankZero } from './sqlite-rank-zero.ts';
import { SqliteRecordLog } from './sqlite-record-log.ts';
import { openForRetry } from './sqlite-retry.ts';
import { SqliteStatements } from './sqlite-statements.ts';
import { SqliteUploads } from './sqlite-uploads.ts';
import type { AppendResult, NewBatch, NewFileBatch, RetryFilter, UploadStart } from './store.ts';

export class SqliteWriter {
  readonly #sql: SqliteStatements;
  readonly #uploads: SqliteUploads;
  readonly #files: SqliteFiles;
  readonly #leases: SqliteLeases;
  readonly #log: SqliteRecordLog;
  readonly #lifecycle: SqliteLifecycle;
  readonly #rankZero: SqliteRankZero;

  constructor(database: DatabaseSync) {
    this.#sql = new SqliteStatements(database);
    this.#uploads = new SqliteUploads(this.#sql);
    this.#files = new SqliteFiles(this.#sql);
    this.#leases = new SqliteLeases(this.#sql);
    this.#log = new SqliteRecordLog(this.#sql);
    this.#lifecycle = new SqliteLifecycle(this.#sql, this.#leases);
    this.#rankZero = new SqliteRankZero(this.#sql);
  }

  /** Before the first operation: no upload and no lease outlives the process that held it. */
  recover(): void {
    this.#uploads.recover();
    this.#files.recover();
    this.#leases.recover();
    this.#sql.run("INSERT OR IGNORE INTO meta VALUES ('store_id', ?)", randomUUID());
  }

  beginUpload(id: string, idempotencyKey: string | null, nowSeconds: number): UploadStart {
    return this.#uploads.begin(id, idempotencyKey, nowSeconds);
  }

  appendChunk(id: string, chunk: NewChunk): void {
    this.#uploads.appendChunk(id, chunk);
  }

  commitUpload(id: string, batch: NewBatch, nowSeconds: number): void {
    this.#uploads.commit(id, batch, nowSeconds);
  }

  abandonUpload(id: string): void {
    this.#uploads.abandon(id);
  }

  beginFile(id: string, nowSeconds: number): void {
    this.#files.begin(id, nowSeconds);
  }

  appendFilePiece(id: string, number: number, bytes: Uint8Array): void {
    this.#files.appendPiece(id, number, bytes);
  }

  commitFile(
    id: string,
    file: { filename: string; lifeSeconds: number | null },
    nowSeconds: number,
  ): StoredFile {
    return this.#files.commit(id, file, nowSeconds);
  }

  abandonFile(id: string): void {
    this.#files.abandon(id);
  }

  deleteFile(id: string, nowSeconds: number): 'deleted' | 'in_use' | null {
    return this.#files.remove(id, nowSeconds);
  }

  expireFiles(nowSeconds: number): void {
    this.#files.expire(nowSeconds);
  }

  createFileBatch(id: string, batch: NewFileBatch, nowSeconds: number): void {
    createFileBatch(this.#sql, id, batch, nowSeconds);
  }

  restartValidation(batchId: string): void {
    restartValidation(this.#sql, batchId);
  }

  passValidation(batchId: string, inputBytes: number, nowSeconds: number): void {
    this.#lifecycle.begin(batchId, inputBytes, nowSeconds);
  }

  failValidation(batchId: string, errors: readonly ValidationError[], nowSeconds: number): void {
    this.#lifecycle.fail(batchId, errors, nowSeconds);
  }

  claimChunk(batchId: string, nowMs: number, leaseMs: number): ClaimedChunk | null {
    return this.#leases.claim(batchId, nowMs, leaseMs);
  }

  renewLeases(leases: readonly Lease[], nowMs: number, leaseMs: number): Lease[] {
    return this.#leases.renew(leases, nowMs, leaseMs);
  }

  /** For the heartbeat: what was held goes on being held. */
  renewHeldLeases(nowMs: number, leaseMs: number): void {
    this.#leases.renewHeld(nowMs, leaseMs);
  }

  releaseChunk(lease: Lease): void {
    this.#leases.release(lease);
  }

  markStarted(lease: Lease, lines: readonly number[]): boolean {
    return this.#leases.markStarted(lease, lines);
  }

  appendRecords(
    lease: Lease,
    records: readonly NewRecord[],
    passages: ReadonlyMap<string, KeptPassage>,
    nowSeconds: number,
  ): AppendResult {
    const chunk = this.#leases.find(lease);
    if (!chunk) return 'stale';
    const written = this.#log.append(chunk.batchKey, records);
    this.#log.keepPassages(chunk.batchKey, passages);
    this.#sql.run(
      'UPDATE chunk_states SET open_lines = open_lines - ? WHERE batch_key = ? AND number = ?',
      written.length,
      chunk.batchKey,
      chunk.number,
    );
    this.#sql.run('UPDATE batches SET leased = leased - ? WHERE key = ?', written.length, chunk.batchKey);
    if (written.length === chunk.openLines) this.#leases.free(chunk, lease.token);
    return this.#lifecycle.settle(chunk.batchKey, written, nowSeconds);
  }

  pauseBatch(batchId: string): void {
    this.#lifecycle.pause(batchId);
  }

  resumeBatch(batchId: string): void {
    this.#lifecycle.resume(batchId);
  }

  requestCancel(batchId: string, nowSeconds: number): void {
    this.#lifecycle.cancel(batchId, nowSeconds);
  }

  requestExpiry(batchId: string, nowSeconds: number): void {
    this.#lifecycle.expire(batchId, nowSeconds);
  }

  retryBatch(batchId: string, filter: RetryFilter, nowSeconds: number): void {
    const row = this.#sql.get(
      "SELECT key FROM batches WHERE id = ? AND status IN ('completed', 'cancelled', 'expired')",
      batchId,
    );
    if (!row) return;
    const key = Number(row.key);
    if (openForRetry(this.#sql, key, filter) > 0) this.#lifecycle.restart(key, nowSeconds);
  }

  deleteBatch(batchId: string): 'deleted' | 'not_finished' | null {
    return this.#lifecycle.remove(batchId);
  }

  acquireRankZero(): number {
    return this.#rankZero.acquire();
  }

  recordReady(
    token: number,
    built: Omit<CollectionRecord, 'generation' | 'readyAt'>,
    nowSeconds: number,
  ): CollectionRecord {
    return this.#rankZero.recordReady(token, built, nowSeconds);
  }
}
