// Which lines of a chunk need a record in the batch's current run, and which do not.

import type { SqliteStatements } from './sqlite-statements.ts';

export interface ChunkRun {
  readonly batchKey: number;
  readonly run: number;
  readonly firstLine: number;
  /** Lines of the upload, blank ones included. */
  readonly span: number;
  /** Lines of this run; null: all. */
  readonly runLines: readonly number[] | null;
}

/** Ascending: lines with a record of this run, and those that a retry left out. */
export function linesNotOpen(sql: SqliteStatements, chunk: ChunkRun): number[] {
  const { batchKey, run, firstLine, span, runLines } = chunk;
  const recorded = sql
    .all(
      'SELECT line FROM records WHERE batch_key = ? AND line >= ? AND line < ? AND run = ?',
      batchKey,
      firstLine,
      firstLine + span,
      run,
    )
    .map((row) => Number(row.line));
  if (runLines === null) return recorded;
  const done = new Set(recorded);
  const wanted = new Set(runLines);
  return Array.from({ length: span }, (_, index) => firstLine + index).filter(
    (line) => done.has(line) || !wanted.has(line),
  );
}
