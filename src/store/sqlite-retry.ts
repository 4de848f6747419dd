// A retry: the next run of a finished batch, over those of its lines that match. A batch may have millions of them, so
// they are counted and walked through, never gathered.

import type { Row } from './sqlite-rows.ts';
import type { SqliteStatements } from './sqlite-statements.ts';
import type { RetryFilter } from './store.ts';

/**
 * Lines whose input is bad never run, so they never match. A bad line may have ended otherwise than by its input, by
 * a cancel: the chunks know it.
 */
const MATCHING = `FROM records WHERE batch_key = ?1 AND is_current = 1 AND stage IS NOT 'input'
  AND status IN (SELECT value FROM json_each(?2))
  AND (?3 IS NULL OR code = ?3) AND (?4 IS NULL OR endpoint = ?4)
  AND (?5 IS NULL OR body ->> '$.custom_id' IN (SELECT value FROM json_each(?5)))
  AND line NOT IN (
    SELECT problem.value ->> '$.line' FROM chunks, json_each(chunks.problems) AS problem
    WHERE chunks.batch_key = ?1 AND problems IS NOT NULL)`;

/** Opens the matching lines; answers how many. */
export function openForRetry(sql: SqliteStatements, batchKey: number, filter: RetryFilter): number {
  const values = [
    batchKey,
    JSON.stringify(filter.statuses),
    filter.code,
    filter.endpoint,
    filter.customIds === null ? null : JSON.stringify(filter.customIds),
  ] as const;
  const groups = sql.all(`SELECT status, rag, count(*) AS lines ${MATCHING} GROUP BY status, rag`, ...values);
  if (groups.length === 0) return 0;
  discount(sql, batchKey, groups);
  openChunks(sql, batchKey, sql.prepare(`SELECT line ${MATCHING} ORDER BY line`).iterate(...values));
  return groups.reduce((sum, group) => sum + Number(group.lines), 0);
}

/** Their records stay in the log, but count no more until a new one has come. */
function discount(sql: SqliteStatements, batchKey: number, groups: readonly Row[]): void {
  const sum = (column: 'status' | 'rag', value: string) =>
    groups
      .filter((group) => group[column] === value)
      .reduce((total, group) => total + Number(group.lines), 0);
  sql.run(
    `UPDATE batches SET succeeded = succeeded - ?, failed = failed - ?, cancelled = cancelled - ?, expired = expired - ?,
       rag_success = rag_success - ?, rag_soft_failure = rag_soft_failure - ?, rag_hard_failure = rag_hard_failure - ?
     WHERE key = ?`,
    sum('status', 'succeeded'),
    sum('status', 'failed'),
    sum('status', 'cancelled'),
    sum('status', 'expired'),
    sum('rag', 'success'),
    sum('rag', 'soft_failure'),
    sum('rag', 'hard_failure'),
    batchKey,
  );
}

/** Chunks without a line of this run are closed, and know it. `lines` ascend, as the chunks do. */
function openChunks(sql: SqliteStatements, batchKey: number, lines: Iterable<Row>): void {
  sql.run("UPDATE chunk_states SET open_lines = 0, run_lines = '[]' WHERE batch_key = ?", batchKey);
  let chunk: Row | undefined;
  let opened: number[] = [];
  const close = () => {
    if (!chunk || opened.length === 0) return;
    sql.run(
      'UPDATE chunk_states SET open_lines = ?, run_lines = ? WHERE batch_key = ? AND number = ?',
      opened.length,
      JSON.stringify(opened),
      batchKey,
      Number(chunk.number),
    );
    opened = [];
  };
  for (const row of lines) {
    const line = Number(row.line);
    if (!chunk || line >= Number(chunk.end)) {
      close();
      chunk = sql.get(
        `SELECT number, first_line + span AS end FROM chunks WHERE batch_key = ? AND first_line <= ?
         ORDER BY first_line DESC LIMIT 1`,
        batchKey,
        line,
      );
    }
    opened.push(line);
  }
  close();
}
