// A retry: the next run of a finished batch, over those of its lines that match.

import type { RagStatus, RecordStatus } from '../domain/record.ts';
import type { SqliteStatements } from './sqlite-statements.ts';
import type { RetryFilter } from './store.ts';

/** A line that will run again, with what counts for it now. */
interface Chosen {
  readonly line: number;
  readonly status: RecordStatus;
  readonly rag: RagStatus | null;
}

/** Opens the matching lines; answers how many. Lines whose input is bad never run, so they never match. */
export function openForRetry(sql: SqliteStatements, batchKey: number, filter: RetryFilter): number {
  const chosen = choose(sql, batchKey, filter);
  if (chosen.length === 0) return 0;
  discount(sql, batchKey, chosen);
  openChunks(sql, batchKey, chosen);
  return chosen.length;
}

function choose(sql: SqliteStatements, batchKey: number, filter: RetryFilter): Chosen[] {
  const rows = sql.all(
    `SELECT line, status, rag FROM records
     WHERE batch_key = ?1 AND is_current = 1 AND stage IS NOT 'input'
       AND status IN (SELECT value FROM json_each(?2))
       AND (?3 IS NULL OR code = ?3) AND (?4 IS NULL OR endpoint = ?4)
       AND (?5 IS NULL OR body ->> '$.custom_id' IN (SELECT value FROM json_each(?5)))
     ORDER BY line`,
    batchKey,
    JSON.stringify(filter.statuses),
    filter.code,
    filter.endpoint,
    filter.customIds === null ? null : JSON.stringify(filter.customIds),
  );
  const bad = badLines(sql, batchKey);
  return rows
    .map((row) => ({
      line: Number(row.line),
      status: row.status as RecordStatus,
      rag: row.rag as RagStatus | null,
    }))
    .filter(({ line }) => !bad.has(line));
}

/** A line that is bad may have ended otherwise, by a cancel. */
function badLines(sql: SqliteStatements, batchKey: number): Set<number> {
  const rows = sql.all(
    `SELECT problem.value ->> '$.line' AS line FROM chunks, json_each(chunks.problems) AS problem
     WHERE batch_key = ? AND problems IS NOT NULL`,
    batchKey,
  );
  return new Set(rows.map((row) => Number(row.line)));
}

/** Their records stay in the log, but count no more until a new one has come. */
function discount(sql: SqliteStatements, batchKey: number, chosen: readonly Chosen[]): void {
  const are = (is: (line: Chosen) => boolean) => chosen.filter(is).length;
  sql.run(
    `UPDATE batches SET succeeded = succeeded - ?, failed = failed - ?, cancelled = cancelled - ?, expired = expired - ?,
       rag_success = rag_success - ?, rag_soft_failure = rag_soft_failure - ?, rag_hard_failure = rag_hard_failure - ?
     WHERE key = ?`,
    are(({ status }) => status === 'succeeded'),
    are(({ status }) => status === 'failed'),
    are(({ status }) => status === 'cancelled'),
    are(({ status }) => status === 'expired'),
    are(({ rag }) => rag === 'success'),
    are(({ rag }) => rag === 'soft_failure'),
    are(({ rag }) => rag === 'hard_failure'),
    batchKey,
  );
}

function openChunks(sql: SqliteStatements, batchKey: number, chosen: readonly Chosen[]): void {
  const chunks = sql.all(
    'SELECT number, first_line + span AS end FROM chunks WHERE batch_key = ? ORDER BY number',
    batchKey,
  );
  let next = 0;
  for (const chunk of chunks) {
    const lines: number[] = [];
    for (
      let line = chosen[next]?.line;
      line !== undefined && line < Number(chunk.end);
      line = chosen[next]?.line
    ) {
      lines.push(line);
      next += 1;
    }
    sql.run(
      'UPDATE chunk_states SET open_lines = ?, run_lines = ? WHERE batch_key = ? AND number = ?',
      lines.length,
      JSON.stringify(lines),
      batchKey,
      Number(chunk.number),
    );
  }
}
