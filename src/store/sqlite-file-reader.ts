// Reading files: those that were uploaded, and the results of batches as files. What is told of a file comes from its
// row or from its batch's counters, never from its content.

import { zstdDecompressSync } from 'node:zlib';
import {
  type FilePurpose,
  type ResultFileKind,
  resultFileId,
  resultFileOf,
  type StoredFile,
} from '../domain/file.ts';
import { RagmillError } from '../errors.ts';
import { IS_CHECKED, IS_READABLE } from './sqlite-files.ts';
import { toStoredFile } from './sqlite-rows.ts';
import type { SqliteStatements } from './sqlite-statements.ts';
import type { FilePage } from './store.ts';

const UPLOADED = `SELECT id, 'batch' AS purpose, filename, bytes, created_at, expires_at FROM files WHERE ${IS_READABLE}`;

const OUTPUTS = resultFiles('output');
const ERRORS = resultFiles('error');

export class SqliteFileReader {
  readonly #sql: SqliteStatements;

  constructor(statements: SqliteStatements) {
    this.#sql = statements;
  }

  file(id: string, nowSeconds: number): StoredFile | null {
    const result = resultFileOf(id);
    const row =
      result === null
        ? this.#sql.get(`${UPLOADED} AND id = ?`, nowSeconds, id)
        : this.#sql.get(
            `${result.kind === 'output' ? OUTPUTS : ERRORS} AND id = ?`,
            nowSeconds,
            result.batchId,
          );
    return row ? toStoredFile(row) : null;
  }

  files(page: FilePage, nowSeconds: number): { files: StoredFile[]; hasMore: boolean } {
    const isAscending = page.order === 'asc';
    const start = isAscending ? { createdAt: -1, id: '' } : { createdAt: Number.MAX_SAFE_INTEGER, id: '' };
    const { createdAt, id } = page.after === null ? start : this.#position(page.after);
    const sources = sourcesOf(page.purpose);
    const rows = this.#sql.all(
      `SELECT * FROM (${sources.join(' UNION ALL ')}) WHERE (created_at, id) ${isAscending ? '>' : '<'} (?, ?)
       ORDER BY created_at ${page.order}, id ${page.order} LIMIT ?`,
      ...sources.map(() => nowSeconds),
      createdAt,
      id,
      page.limit + 1,
    );
    return { files: rows.slice(0, page.limit).map(toStoredFile), hasMore: rows.length > page.limit };
  }

  /** What a batch is made of stays readable for it, however long that takes. */
  piece(id: string, number: number, nowSeconds: number): Buffer | null {
    const row = this.#sql.get(
      `SELECT content FROM file_pieces JOIN files ON files.key = file_key
       WHERE id = ? AND number = ? AND ((${IS_READABLE}) OR (status = 'stored' AND ${IS_CHECKED}))`,
      id,
      number,
      nowSeconds,
    );
    return row ? zstdDecompressSync(row.content as Uint8Array) : null;
  }

  /** A page goes on after a file that was deleted or has expired meanwhile, too. */
  #position(id: string): { createdAt: number; id: string } {
    const result = resultFileOf(id);
    const row =
      result === null
        ? this.#sql.get(
            "SELECT created_at FROM files WHERE id = ? AND status IN ('stored', 'deleting', 'deleted')",
            id,
          )
        : this.#sql.get(
            `SELECT coalesce(ended_at, in_progress_at) AS created_at FROM batches
             WHERE id = ? AND status NOT IN ('uploading', 'discarding') AND ${result.kind}_bytes IS NOT 0`,
            result.batchId,
          );
    if (row && row.created_at !== null) return { createdAt: Number(row.created_at), id };
    throw new RagmillError('file_not_found', `No file has the id ${id} that stands in "after".`);
  }
}

function sourcesOf(purpose: FilePurpose | null): string[] {
  if (purpose === 'batch') return [UPLOADED];
  return purpose === 'batch_output' ? [OUTPUTS, ERRORS] : [UPLOADED, OUTPUTS, ERRORS];
}

/** A file is there as soon as something stands in it: every line has its newline at least. */
function resultFiles(kind: ResultFileKind): string {
  const bytes = `${kind}_bytes`;
  return `SELECT '${resultFileId('batch_', kind)}' || substr(id, ${'batch_'.length + 1}) AS id, 'batch_output' AS purpose,
      id || '_${kind}.jsonl' AS filename, ${bytes} AS bytes, coalesce(ended_at, in_progress_at) AS created_at,
      ended_at + output_life_seconds AS expires_at
    FROM batches
    WHERE ${bytes} > 0 AND status NOT IN ('uploading', 'discarding', 'deleting', 'deleted')
      AND coalesce(ended_at + output_life_seconds > ?, 1)`;
}
