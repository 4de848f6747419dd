// The writing side of files: those that are uploaded piece by piece, and the results of batches, which are no rows of
// their own. A batch whose output_bytes or error_bytes are NULL has no such file, and never gets one again.

import { zstdCompressSync } from 'node:zlib';
import { type ResultFileKind, resultFileOf, type StoredFile } from '../domain/file.ts';
import { RagmillError } from '../errors.ts';
import { toStoredFile } from './sqlite-rows.ts';
import type { SqliteStatements } from './sqlite-statements.ts';

/** Of an uploaded file that can be read at a time, which is to be given. */
export const IS_READABLE = "status = 'stored' AND (expires_at IS NULL OR expires_at > ?)";

/** … and of one that a batch still takes its lines from. */
export const IS_CHECKED =
  "EXISTS (SELECT 1 FROM batches b WHERE b.input_file_id = files.id AND b.status = 'validating')";

export class SqliteFiles {
  readonly #sql: SqliteStatements;

  constructor(statements: SqliteStatements) {
    this.#sql = statements;
  }

  /** Before the first operation: no upload outlives the process that received it. */
  recover(): void {
    this.#sql.run("UPDATE files SET status = 'discarding' WHERE status = 'uploading'");
  }

  begin(id: string, nowSeconds: number): void {
    this.#sql.run("INSERT INTO files (id, status, created_at) VALUES (?, 'uploading', ?)", id, nowSeconds);
  }

  appendPiece(id: string, number: number, bytes: Uint8Array): void {
    const row = this.#sql.get(
      "UPDATE files SET bytes = bytes + ? WHERE id = ? AND status = 'uploading' RETURNING key",
      bytes.length,
      id,
    );
    if (!row) throw uploadIncomplete();
    this.#sql.run(
      'INSERT INTO file_pieces (file_key, number, content) VALUES (?, ?, ?)',
      Number(row.key),
      number,
      zstdCompressSync(bytes),
    );
  }

  commit(id: string, file: { filename: string; lifeSeconds: number | null }, nowSeconds: number): StoredFile {
    const row = this.#sql.get(
      `UPDATE files SET status = 'stored', filename = ?, created_at = ?, expires_at = ?
       WHERE id = ? AND status = 'uploading' RETURNING *, 'batch' AS purpose`,
      file.filename,
      nowSeconds,
      file.lifeSeconds === null ? null : nowSeconds + file.lifeSeconds,
      id,
    );
    if (!row) throw uploadIncomplete();
    return toStoredFile(row);
  }

  abandon(id: string): void {
    this.#sql.run("UPDATE files SET status = 'discarding' WHERE id = ? AND status = 'uploading'", id);
  }

  /** Gone at once for readers; the pieces go bit by bit. */
  remove(id: string, nowSeconds: number): 'deleted' | 'in_use' | null {
    const result = resultFileOf(id);
    if (result !== null) return this.#removeResult(result.batchId, result.kind, nowSeconds);
    const row = this.#sql.get(
      `SELECT key, ${IS_CHECKED} AS is_checked FROM files WHERE id = ? AND ${IS_READABLE}`,
      id,
      nowSeconds,
    );
    if (!row) return null;
    if (row.is_checked === 1) return 'in_use';
    this.#sql.run(
      "UPDATE files SET status = 'deleting', expires_at = ? WHERE key = ?",
      nowSeconds,
      Number(row.key),
    );
    return 'deleted';
  }

  /** A file that a batch still takes its lines from goes when it has them. */
  expire(nowSeconds: number): void {
    this.#sql.run(
      `UPDATE files SET status = 'deleting'
       WHERE status = 'stored' AND expires_at IS NOT NULL AND expires_at <= ? AND NOT ${IS_CHECKED}`,
      nowSeconds,
    );
    this.#sql.run(
      `UPDATE batches SET output_bytes = NULL, error_bytes = NULL
       WHERE output_life_seconds IS NOT NULL AND ended_at + output_life_seconds <= ?
         AND (output_bytes IS NOT NULL OR error_bytes IS NOT NULL)`,
      nowSeconds,
    );
  }

  #removeResult(batchId: string, kind: ResultFileKind, nowSeconds: number): 'deleted' | 'in_use' | null {
    const bytes = `${kind}_bytes`;
    const row = this.#sql.get(
      `SELECT key, ended_at FROM batches WHERE id = ? AND ${bytes} > 0 AND status NOT IN ('deleting', 'deleted')
         AND (ended_at IS NULL OR output_life_seconds IS NULL OR ended_at + output_life_seconds > ?)`,
      batchId,
      nowSeconds,
    );
    if (!row) return null;
    if (row.ended_at === null) return 'in_use';
    this.#sql.run(`UPDATE batches SET ${bytes} = NULL WHERE key = ?`, Number(row.key));
    return 'deleted';
  }
}

function uploadIncomplete(): RagmillError {
  return new RagmillError('upload_incomplete', 'The upload was abandoned.');
}
