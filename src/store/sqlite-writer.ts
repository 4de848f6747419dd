// Every change of the database, as one synchronous operation each. Runs in the writing thread, inside the
// transaction that the thread opens around a group of operations.
//
// What must hold after every operation:
// (W1) queued + leased + succeeded + failed + cancelled = total, per batch.
// (W2) a batch's records have the seqs 1 … last_seq without a gap, and at most one record a line.
// (W3) a write under a token that is not the chunk's changes nothing.

import { randomUUID } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { ClaimedChunk, Lease, NewChunk } from '../domain/chunk.ts';
import type { CollectionRecord } from '../domain/collection.ts';
import type { NewRecord } from '../domain/record.ts';
import { RagmillError } from '../errors.ts';
import { SqliteRecordLog } from './sqlite-record-log.ts';
import { toCollectionRecord } from './sqlite-rows.ts';
import { SqliteStatements } from './sqlite-statements.ts';
import type { AppendResult, NewBatch } from './store.ts';

export class SqliteWriter {
  readonly #statements: SqliteStatements;
  readonly #log: SqliteRecordLog;

  constructor(database: DatabaseSync) {
    this.#statements = new SqliteStatements(database);
    this.#log = new SqliteRecordLog(this.#statements);
  }

  /** Before the first operation: no upload and no lease outlives the process that held it. */
  recover(): void {
    this.#run("DELETE FROM batches WHERE status = 'uploading'");
    this.#run('UPDATE chunks SET lease_token = NULL, lease_expires_at = NULL WHERE lease_token IS NOT NULL');
    this.#run('UPDATE batches SET leased = 0 WHERE leased > 0');
    this.#run("INSERT OR IGNORE INTO meta VALUES ('store_id', ?)", randomUUID());
  }

  beginUpload(id: string, nowSeconds: number): void {
    this.#run("INSERT INTO batches (id, status, created_at) VALUES (?, 'uploading', ?)", id, nowSeconds);
  }

  appendChunk(id: string, chunk: NewChunk): void {
    const key = this.#uploadKey(id);
    this.#run(
      `INSERT INTO chunks (batch_key, number, first_line, span, blank_lines, open_lines, input, problems)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      key,
      chunk.number,
      chunk.firstLine,
      chunk.lineCount + chunk.blankLines.length,
      jsonOrNull(chunk.blankLines),
      chunk.lineCount,
      zstdCompressSync(chunk.text),
      jsonOrNull(chunk.problems),
    );
    this.#run('UPDATE batches SET total = total + ? WHERE key = ?', chunk.lineCount, key);
  }

  commitUpload(id: string, batch: NewBatch, nowSeconds: number): void {
    const key = this.#uploadKey(id);
    const total = Number(this.#get('SELECT total FROM batches WHERE key = ?', key)?.total);
    if (total === 0) throw new RagmillError('empty_upload', 'The upload has no lines.');
    this.#run(
      `UPDATE batches SET status = 'in_progress', options = ?, metadata = ?, input_bytes = ?, created_at = ?
       WHERE key = ?`,
      JSON.stringify(batch.options),
      batch.metadata === null ? null : JSON.stringify(batch.metadata),
      batch.inputBytes,
      nowSeconds,
      key,
    );
  }

  abandonUpload(id: string): void {
    this.#run("DELETE FROM batches WHERE id = ? AND status = 'uploading'", id);
  }

  claimChunk(batchId: string, nowMs: number, leaseMs: number): ClaimedChunk | null {
    const row = this.#get(
      `SELECT c.rowid AS row, c.*, b.status FROM batches b JOIN chunks c ON c.batch_key = b.key
       WHERE b.id = ? AND b.status IN ('in_progress', 'cancelling') AND c.open_lines > 0
         AND (c.lease_token IS NULL OR c.lease_expires_at <= ?)
       ORDER BY c.number LIMIT 1`,
      batchId,
      nowMs,
    );
    if (!row) return null;
    const token = this.#nextToken();
    this.#run(
      'UPDATE chunks SET lease_token = ?, lease_expires_at = ? WHERE rowid = ?',
      token,
      nowMs + leaseMs,
      row.row as number,
    );
    if (row.lease_token === null) {
      this.#run(
        'UPDATE batches SET leased = leased + ? WHERE key = ?',
        row.open_lines as number,
        row.batch_key as number,
      );
    }
    const firstLine = Number(row.first_line);
    return {
      lease: { batchId, chunk: Number(row.number), token },
      cancelling: row.status === 'cancelling',
      firstLine,
      text: zstdDecompressSync(row.input as Uint8Array),
      problems: row.problems === null ? [] : JSON.parse(String(row.problems)),
      finishedLines: this.#log.linesWithRecord(Number(row.batch_key), firstLine, Number(row.span)),
    };
  }

  renewLeases(leases: readonly Lease[], nowMs: number, leaseMs: number): Lease[] {
    return leases.filter(
      (lease) =>
        this.#run(
          `UPDATE chunks SET lease_expires_at = ? WHERE lease_token = ? AND number = ?
             AND batch_key = (SELECT key FROM batches WHERE id = ?)`,
          nowMs + leaseMs,
          lease.token,
          lease.chunk,
          lease.batchId,
        ) === 0,
    );
  }

  releaseChunk(lease: Lease): void {
    const chunk = this.#leasedChunk(lease);
    if (!chunk) return;
    this.#run('UPDATE chunks SET lease_token = NULL, lease_expires_at = NULL WHERE rowid = ?', chunk.row);
    this.#run('UPDATE batches SET leased = leased - ? WHERE key = ?', chunk.openLines, chunk.batchKey);
  }

  appendRecords(lease: Lease, records: readonly NewRecord[], nowSeconds: number): AppendResult {
    const chunk = this.#leasedChunk(lease);
    if (!chunk) return 'stale';
    const written = this.#log.append(chunk.batchKey, records);
    this.#run('UPDATE chunks SET open_lines = open_lines - ? WHERE rowid = ?', written, chunk.row);
    this.#run('UPDATE batches SET leased = leased - ? WHERE key = ?', written, chunk.batchKey);
    if (written === chunk.openLines) {
      this.#run('UPDATE chunks SET lease_token = NULL, lease_expires_at = NULL WHERE rowid = ?', chunk.row);
    }
    const ended = this.#run(
      `UPDATE batches SET ended_at = ?, status = CASE status WHEN 'cancelling' THEN 'cancelled' ELSE 'completed' END
       WHERE key = ? AND succeeded + failed + cancelled = total`,
      nowSeconds,
      chunk.batchKey,
    );
    return ended > 0 ? 'batch_ended' : 'stored';
  }

  requestCancel(batchId: string, nowSeconds: number): void {
    const changed = this.#run(
      "UPDATE batches SET status = 'cancelling', cancelling_at = ?, leased = 0 WHERE id = ? AND status = 'in_progress'",
      nowSeconds,
      batchId,
    );
    if (changed === 0) return;
    // From here on the fence refuses what runs; the open lines are claimed again and recorded as cancelled.
    this.#run(
      `UPDATE chunks SET lease_token = NULL, lease_expires_at = NULL
       WHERE open_lines > 0 AND lease_token IS NOT NULL
         AND batch_key = (SELECT key FROM batches WHERE id = ?)`,
      batchId,
    );
  }

  acquireRankZero(): number {
    const token = this.#nextToken();
    this.#run("INSERT OR REPLACE INTO meta VALUES ('rank_zero_token', ?)", String(token));
    return token;
  }

  recordReady(
    token: number,
    built: Omit<CollectionRecord, 'generation' | 'readyAt'>,
    nowSeconds: number,
  ): CollectionRecord {
    const holder = this.#get("SELECT value FROM meta WHERE key = 'rank_zero_token'")?.value;
    if (holder !== String(token)) {
      throw new RagmillError('rank_lost', 'Another process has become rank 0; this one records nothing.');
    }
    const row = this.#get(
      `INSERT INTO collections (generation, uuid, name, count, fingerprint, ready_at)
       VALUES ((SELECT coalesce(max(generation), 0) + 1 FROM collections), ?, ?, ?, ?, ?) RETURNING *`,
      built.uuid,
      built.name,
      built.count,
      built.fingerprint,
      nowSeconds,
    );
    if (!row) throw new Error('INSERT … RETURNING returned no row');
    return toCollectionRecord(row);
  }

  #leasedChunk(lease: Lease): { row: number; batchKey: number; openLines: number } | null {
    const row = this.#get(
      `SELECT c.rowid AS row, c.batch_key, c.open_lines FROM batches b JOIN chunks c ON c.batch_key = b.key
       WHERE b.id = ? AND c.number = ? AND c.lease_token = ?`,
      lease.batchId,
      lease.chunk,
      lease.token,
    );
    if (!row) return null;
    return {
      row: Number(row.row),
      batchKey: Number(row.batch_key),
      openLines: Number(row.open_lines),
    };
  }

  #uploadKey(id: string): number {
    const row = this.#get("SELECT key FROM batches WHERE id = ? AND status = 'uploading'", id);
    if (!row) throw new RagmillError('upload_incomplete', 'The upload was abandoned.');
    return Number(row.key);
  }

  #nextToken(): number {
    return Number(
      this.#get('UPDATE fencing SET last_token = last_token + 1 RETURNING last_token')?.last_token,
    );
  }

  #run(sql: string, ...values: (string | number | Uint8Array | null)[]): number {
    return Number(this.#statements.prepare(sql).run(...values).changes);
  }

  #get(sql: string, ...values: (string | number)[]) {
    return this.#statements.prepare(sql).get(...values);
  }
}

function jsonOrNull(list: readonly unknown[]): string | null {
  return list.length === 0 ? null : JSON.stringify(list);
}
