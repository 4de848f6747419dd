// What must hold of the file that a killed process leaves behind: it is a legal prefix of what was acknowledged.

import { strict as assert } from 'node:assert';
import { DatabaseSync } from 'node:sqlite';
import type { ChaosService } from './chaos-service.ts';
import { checkLog } from './check-log.ts';
import { isFinished, type KnownBatch, type Status } from './known-batch.ts';
import type { Oracle } from './oracle.ts';

type Row = Record<string, unknown>;

/** What a killed process had not finished, by batch. */
export interface DeadBatch {
  /** Lines with a record. */
  readonly recorded: ReadonlySet<number>;
  /** Lines whose call may have left. */
  readonly started: ReadonlySet<number>;
}

/**
 * Checks the file of a dead process; answers where each batch of the oracle stood. `isStopped`: it was not killed, but
 * ended by itself, and leaves nothing half done.
 */
export function checkDeadDatabase(
  service: ChaosService,
  oracle: Oracle,
  isStopped = false,
): Map<string, DeadBatch> {
  using copy = service.copyDatabase();
  const database = new DatabaseSync(copy.path, { readOnly: true });
  try {
    assert.deepEqual(database.prepare('PRAGMA integrity_check').all().map(values), [['ok']]);
    assert.deepEqual(database.prepare('PRAGMA foreign_key_check').all(), []);
    checkCounters(database);
    if (isStopped) assert.deepEqual(database.prepare(LEFTOVERS).all(), [], 'a stop left something half done');
    const dead = new Map<string, DeadBatch>();
    for (const known of oracle.batches.values()) {
      const row = database.prepare('SELECT * FROM batches WHERE id = ?').get(known.id);
      const isGone = row === undefined || row.status === 'deleting' || row.status === 'deleted';
      if (!isGone) dead.set(known.id, checkBatch(database, oracle, known, row));
      else oracle.observeGone(known);
    }
    return dead;
  } finally {
    database.close();
  }
}

/** A new life has begun: no upload of an earlier one is left. */
export function checkLeftovers(service: ChaosService): void {
  const database = new DatabaseSync(service.databasePath, { readOnly: true });
  try {
    assert.deepEqual(database.prepare(UPLOADS).all(), [], 'uploads of an earlier life');
  } finally {
    database.close();
  }
}

function checkBatch(database: DatabaseSync, oracle: Oracle, known: KnownBatch, row: Row): DeadBatch {
  const status = String(row.status) as Status;
  assert.ok(known.reachable([]).has(status), `${known.id}: ${status} after ${known.status}`);
  known.status = status;
  const key = Number(row.key);
  const records = database
    .prepare('SELECT line, body FROM records WHERE batch_key = ? ORDER BY seq')
    .all(key);
  if (isFinished(status)) known.runEnds.add(Number(row.last_seq));
  checkLog(
    known,
    records.map((record) => String(record.body)),
    oracle.server,
  );
  const lines = database
    .prepare('SELECT first_line, span, blank_lines FROM chunks WHERE batch_key = ? ORDER BY number')
    .all(key);
  const count = lines.reduce((sum, chunk) => sum + Number(chunk.span) - blankLines(chunk), 0);
  assert.equal(count, known.lines.length, `${known.id}: lines are missing`);
  const started = database
    .prepare('SELECT line FROM line_starts WHERE batch_key = ? AND is_started = 1')
    .all(key);
  return { recorded: linesOf(records), started: linesOf(started) };
}

function linesOf(rows: readonly Row[]): Set<number> {
  return new Set(rows.map((row) => Number(row.line)));
}

function blankLines(chunk: Row): number {
  return chunk.blank_lines === null ? 0 : (JSON.parse(String(chunk.blank_lines)) as unknown[]).length;
}

/** Every counter that stands beside rows is what the rows say. */
function checkCounters(database: DatabaseSync): void {
  const wrong = database.prepare(`${COUNTED} WHERE stored IS NOT counted`).all();
  assert.deepEqual(wrong.map(values), [], 'counters that are not what their rows say');
}

function values(row: Row): unknown[] {
  return Object.values(row);
}

/** Of a chunk: the lines that have to get a record in the batch's current run. */
const RUN_LINES = `coalesce(json_array_length(s.run_lines), c.span - coalesce(json_array_length(c.blank_lines), 0))`;

/** Records that count: each line's current one, but for lines that a retry has opened again. */
const COUNTING = `SELECT r.* FROM records r JOIN batches b ON b.key = r.batch_key
  WHERE r.is_current = 1 AND NOT EXISTS (
    SELECT 1 FROM chunk_states s, json_each(s.run_lines) open_again
    WHERE s.batch_key = r.batch_key AND open_again.value = r.line
      AND NOT EXISTS (SELECT 1 FROM records n WHERE n.batch_key = r.batch_key AND n.line = r.line AND n.run = b.run))`;

const STATUS_COUNTERS = ['succeeded', 'failed', 'cancelled', 'expired'].map(
  (status) => `SELECT b.id, '${status}', b.${status},
    (SELECT count(*) FROM counting r WHERE r.batch_key = b.key AND r.status = '${status}') FROM visible b`,
);

const RAG_COUNTERS = ['success', 'soft_failure', 'hard_failure'].map(
  (outcome) => `SELECT b.id, 'rag_${outcome}', b.rag_${outcome},
    (SELECT count(*) FROM counting r WHERE r.batch_key = b.key AND r.rag = '${outcome}') FROM visible b`,
);

const COUNTED = `
  WITH visible AS (SELECT * FROM batches WHERE status NOT IN ('uploading', 'discarding', 'deleting', 'deleted')),
  counting AS (${COUNTING}),
  counters (id, name, stored, counted) AS (
    SELECT b.id, 'total', b.total, (SELECT coalesce(sum(c.span - coalesce(json_array_length(c.blank_lines), 0)), 0)
      FROM chunks c WHERE c.batch_key = b.key) FROM visible b
    UNION ALL SELECT b.id, 'output_bytes', b.output_bytes, (SELECT coalesce(sum(r.file_bytes), 0)
      FROM records r WHERE r.batch_key = b.key AND r.is_current = 1 AND r.status = 'succeeded')
      FROM visible b WHERE b.output_bytes IS NOT NULL
    UNION ALL SELECT b.id, 'error_bytes', b.error_bytes, (SELECT coalesce(sum(r.file_bytes), 0)
      FROM records r WHERE r.batch_key = b.key AND r.is_current = 1 AND r.status <> 'succeeded')
      FROM visible b WHERE b.error_bytes IS NOT NULL
    UNION ALL SELECT b.id, 'last_seq', b.last_seq,
      (SELECT coalesce(max(r.seq), 0) FROM records r WHERE r.batch_key = b.key) FROM visible b
    UNION ALL SELECT b.id, 'records', b.last_seq,
      (SELECT count(*) FROM records r WHERE r.batch_key = b.key) FROM visible b
    UNION ALL SELECT b.id, 'log_bytes', b.log_bytes,
      (SELECT coalesce(sum(octet_length(r.body) + 1), 0) FROM records r WHERE r.batch_key = b.key) FROM visible b
    UNION ALL SELECT b.id, 'end_offset ' || r.seq, r.end_offset,
      sum(octet_length(r.body) + 1) OVER (PARTITION BY r.batch_key ORDER BY r.seq)
      FROM visible b JOIN records r ON r.batch_key = b.key
    UNION ALL SELECT b.id, 'leased', b.leased, (SELECT coalesce(sum(s.open_lines), 0) FROM chunk_states s
      WHERE s.batch_key = b.key AND s.lease_token IS NOT NULL) FROM visible b
    UNION ALL SELECT b.id, 'ran_lines', b.ran_lines, (SELECT count(*) FROM records r WHERE r.batch_key = b.key
      AND (r.status = 'succeeded' OR (r.status = 'failed' AND r.stage <> 'input'))) FROM visible b
    UNION ALL SELECT b.id, 'prompt_tokens', b.prompt_tokens, (SELECT
      coalesce(sum(r.body ->> '$.usage.prompt_tokens'), 0) FROM records r WHERE r.batch_key = b.key) FROM visible b
    UNION ALL ${[...STATUS_COUNTERS, ...RAG_COUNTERS].join(' UNION ALL ')}
    UNION ALL SELECT b.id, 'chunk ' || c.number, s.open_lines, ${RUN_LINES} - (SELECT count(*) FROM records r
        WHERE r.batch_key = b.key AND r.run = b.run AND r.line >= c.first_line AND r.line < c.first_line + c.span)
      FROM visible b JOIN chunks c ON c.batch_key = b.key
      JOIN chunk_states s ON s.batch_key = b.key AND s.number = c.number
    UNION ALL SELECT b.id, 'open', b.total - b.succeeded - b.failed - b.cancelled - b.expired,
      (SELECT sum(s.open_lines) FROM chunk_states s WHERE s.batch_key = b.key) FROM visible b
    UNION ALL SELECT b.id, 'current records of line ' || r.line, 1, sum(r.is_current)
      FROM visible b JOIN records r ON r.batch_key = b.key GROUP BY b.key, r.line
    UNION ALL SELECT b.id, 'has ended', b.ended_at IS NOT NULL,
      b.status IN ('completed', 'cancelled', 'expired') FROM visible b
    UNION ALL SELECT b.id, 'has a reason to pause', b.pause_code IS NOT NULL, b.status = 'paused' FROM visible b
    UNION ALL SELECT b.id, 'marks of lines that have ended', 0, count(*) FROM visible b JOIN line_starts m
      ON m.batch_key = b.key JOIN records r ON r.batch_key = b.key AND r.line = m.line AND r.run = b.run GROUP BY b.key
    UNION ALL SELECT b.id, 'missing passage ' || hash.value, 0, 1
      FROM visible b JOIN records r ON r.batch_key = b.key, json_each(r.details, '$.passages') hash
      WHERE hash.value NOT IN (SELECT p.hash FROM passages p WHERE p.batch_key = b.key)
  ) SELECT * FROM counters`;

const UPLOADS = `SELECT id FROM batches WHERE status = 'uploading'
  UNION ALL SELECT key FROM idempotency_keys WHERE request_hash IS NULL`;
const LEFTOVERS = `${UPLOADS} UNION ALL SELECT id FROM batches WHERE leased <> 0
  UNION ALL SELECT batch_key || ' ' || number FROM chunk_states WHERE lease_token IS NOT NULL
  UNION ALL SELECT batch_key || ' line ' || line FROM line_starts WHERE is_started = 1`;
