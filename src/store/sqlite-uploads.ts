// Uploads on their way to becoming batches, and the idempotency keys they came with.

import { zstdCompressSync } from 'node:zlib';
import type { NewChunk } from '../domain/chunk.ts';
import { windowSeconds } from '../domain/options.ts';
import { RagmillError } from '../errors.ts';
import type { SqliteStatements } from './sqlite-statements.ts';
import type { NewBatch, UploadStart } from './store.ts';

/** How long a key is kept after its upload. */
const KEY_LIFE_SECONDS = 24 * 3600;

export class SqliteUploads {
  readonly #sql: SqliteStatements;

  constructor(statements: SqliteStatements) {
    this.#sql = statements;
  }

  /** Before the first operation: no upload outlives the process that received it. */
  recover(): void {
    this.#sql.run("UPDATE batches SET status = 'discarding' WHERE status = 'uploading'");
    this.#sql.run('DELETE FROM idempotency_keys WHERE request_hash IS NULL');
  }

  begin(id: string, idempotencyKey: string | null, nowSeconds: number): UploadStart {
    const taken = idempotencyKey === null ? null : this.#takeKey(idempotencyKey, id, nowSeconds);
    if (taken !== null) return taken;
    this.#sql.run("INSERT INTO batches (id, status, created_at) VALUES (?, 'uploading', ?)", id, nowSeconds);
    return { kind: 'begun' };
  }

  appendChunk(id: string, chunk: NewChunk): void {
    const key = this.#keyOf(id, "status IN ('uploading', 'validating')");
    this.#sql.run(
      `INSERT INTO chunks (batch_key, number, first_line, span, blank_lines, input, problems)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
      key,
      chunk.number,
      chunk.firstLine,
      chunk.lineCount + chunk.blankLines.length,
      jsonOrNull(chunk.blankLines),
      zstdCompressSync(chunk.text),
      jsonOrNull(chunk.problems),
    );
    this.#sql.run(
      'INSERT INTO chunk_states (batch_key, number, open_lines) VALUES (?, ?, ?)',
      key,
      chunk.number,
      chunk.lineCount,
    );
    this.#sql.run('UPDATE batches SET total = total + ? WHERE key = ?', chunk.lineCount, key);
  }

  commit(id: string, batch: NewBatch, nowSeconds: number): void {
    const key = this.#keyOf(id, "status = 'uploading'");
    const total = Number(this.#sql.get('SELECT total FROM batches WHERE key = ?', key)?.total);
    if (total === 0) throw new RagmillError('empty_upload', 'The upload has no lines.');
    const { options } = batch;
    this.#sql.run(
      `UPDATE batches SET status = 'in_progress', options = ?, metadata = ?, input_bytes = ?, created_at = ?,
         in_progress_at = ?, expires_at = ?, pause_at = ?, output_bytes = 0, error_bytes = 0
       WHERE key = ?`,
      JSON.stringify(options),
      batch.metadata === null ? null : JSON.stringify(batch.metadata),
      batch.inputBytes,
      nowSeconds,
      nowSeconds,
      options.completionWindow === null ? null : nowSeconds + windowSeconds(options.completionWindow),
      options.pauseAfter,
      key,
    );
    this.#sql.run(
      'UPDATE idempotency_keys SET request_hash = ?, created_at = ? WHERE batch_id = ?',
      batch.requestHash ?? '',
      nowSeconds,
      id,
    );
  }

  abandon(id: string): void {
    const changed = this.#sql.run(
      "UPDATE batches SET status = 'discarding' WHERE id = ? AND status = 'uploading'",
      id,
    );
    if (changed > 0) this.#sql.run('DELETE FROM idempotency_keys WHERE batch_id = ?', id);
  }

  /** null: the key was free, and is this upload's now. */
  #takeKey(key: string, id: string, nowSeconds: number): UploadStart | null {
    this.#sql.run(
      'DELETE FROM idempotency_keys WHERE created_at <= ? AND request_hash IS NOT NULL',
      nowSeconds - KEY_LIFE_SECONDS,
    );
    const row = this.#sql.get('SELECT batch_id, request_hash FROM idempotency_keys WHERE key = ?', key);
    if (row) {
      if (row.request_hash === null) return { kind: 'running' };
      return { kind: 'known', batchId: String(row.batch_id), requestHash: String(row.request_hash) };
    }
    this.#sql.run('INSERT INTO idempotency_keys VALUES (?, ?, NULL, ?)', key, id, nowSeconds);
    return null;
  }

  #keyOf(id: string, condition: string): number {
    const row = this.#sql.get(`SELECT key FROM batches WHERE id = ? AND ${condition}`, id);
    if (!row) throw new RagmillError('upload_incomplete', 'The upload was abandoned.');
    return Number(row.key);
  }
}

function jsonOrNull(list: readonly unknown[]): string | null {
  return list.length === 0 ? null : JSON.stringify(list);
}
