// Batches that are made of an uploaded file: until its check is over they only gather lines.

import { windowSeconds } from '../domain/options.ts';
import { RagmillError } from '../errors.ts';
import { IS_READABLE } from './sqlite-files.ts';
import type { SqliteStatements } from './sqlite-statements.ts';
import type { NewFileBatch } from './store.ts';

export function createFileBatch(
  sql: SqliteStatements,
  id: string,
  batch: NewFileBatch,
  nowSeconds: number,
): void {
  const { inputFileId, options, metadata } = batch;
  if (!sql.get(`SELECT 1 FROM files WHERE id = ? AND ${IS_READABLE}`, inputFileId, nowSeconds)) {
    throw new RagmillError('file_not_found', `No file has the id ${inputFileId}.`);
  }
  sql.run(
    `INSERT INTO batches (id, status, options, metadata, created_at, expires_at, endpoint, input_file_id,
       output_life_seconds, output_bytes, error_bytes)
     VALUES (?, 'validating', ?, ?, ?, ?, ?, ?, ?, 0, 0)`,
    id,
    JSON.stringify(options),
    metadata === null ? null : JSON.stringify(metadata),
    nowSeconds,
    options.completionWindow === null ? null : nowSeconds + windowSeconds(options.completionWindow),
    batch.endpoint,
    inputFileId,
    batch.outputLifeSeconds,
  );
}

export function restartValidation(sql: SqliteStatements, batchId: string): void {
  const row = sql.get("SELECT key FROM batches WHERE id = ? AND status = 'validating'", batchId);
  if (!row) throw new RagmillError('upload_incomplete', 'The batch is not being checked any more.');
  dropChunks(sql, Number(row.key));
}

/** Of a batch that has not begun, so that its lines have nothing else. */
export function dropChunks(sql: SqliteStatements, batchKey: number): void {
  sql.run('DELETE FROM chunks WHERE batch_key = ?', batchKey);
  sql.run('DELETE FROM chunk_states WHERE batch_key = ?', batchKey);
  sql.run('UPDATE batches SET total = 0 WHERE key = ?', batchKey);
}
