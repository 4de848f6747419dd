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
      if (row) dead.set(known.id, checkBatch(database, oracle, known, row));
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
  return { recorded: new Set(records.map((record) => Number(record.line))) };
}

function blankLines(chunk: Row): number {
  return chunk.blank_lines === null ? 0 : (JSON.parse(String(chunk.blank_lines)) as unknown[]).length;
}

/** Every counter that stands beside rows is what the rows say. */
function checkCounters(database: DatabaseSync): void {
  const wrong = database.prepare(`${COUNTED} WHERE stored <> counted`).all();
  assert.deepEqual(wrong.map(values), [], 'counters that are not what their rows say');
}

function values(row: Row): unknown[] {
  return Object.values(row);
}

const COUNTED = `
  WITH counters AS (
    SELECT b.id AS id, 'total' AS name, b.total AS stored,
      (SELECT coalesce(sum(c.span - coalesce(json_array_length(c.blank_lines), 0)), 0)
       FROM chunks c WHERE c.batch_key = b.key) AS counted FROM batches b
    UNION ALL SELECT b.id, 'last_seq', b.last_seq,
      (SELECT coalesce(max(r.seq), 0) FROM records r WHERE r.batch_key = b.key) FROM batches b
    UNION ALL SELECT b.id, 'records', b.last_seq,
      (SELECT count(*) FROM records r WHERE r.batch_key = b.key) FROM batches b
    UNION ALL SELECT b.id, 'leased', b.leased,
      (SELECT coalesce(sum(c.open_lines), 0) FROM chunks c
       WHERE c.batch_key = b.key AND c.lease_token IS NOT NULL) FROM batches b
    UNION ALL SELECT b.id, 'succeeded', b.succeeded,
      (SELECT count(*) FROM records r WHERE r.batch_key = b.key AND r.status = 'succeeded') FROM batches b
    UNION ALL SELECT b.id, 'failed', b.failed,
      (SELECT count(*) FROM records r WHERE r.batch_key = b.key AND r.status = 'failed') FROM batches b
    UNION ALL SELECT b.id, 'cancelled', b.cancelled,
      (SELECT count(*) FROM records r WHERE r.batch_key = b.key AND r.status = 'cancelled') FROM batches b
    UNION ALL SELECT b.id, 'chunk ' || c.number, c.open_lines,
      c.span - coalesce(json_array_length(c.blank_lines), 0) - (SELECT count(*) FROM records r
        WHERE r.batch_key = b.key AND r.line >= c.first_line AND r.line < c.first_line + c.span)
      FROM batches b JOIN chunks c ON c.batch_key = b.key
  ) SELECT * FROM counters`;

const UPLOADS = "SELECT id FROM batches WHERE status = 'uploading'";
const LEFTOVERS = `${UPLOADS} UNION ALL SELECT id FROM batches WHERE leased <> 0
  UNION ALL SELECT batch_key || ' ' || number FROM chunks WHERE lease_token IS NOT NULL`;
