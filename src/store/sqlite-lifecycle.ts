// The statuses of batches: every change goes through the transitions of the domain.

import type { ValidationError } from '../domain/batch.ts';
import { type BatchEvent, type BatchStatus, isTerminal, nextStatus } from '../domain/batch-status.ts';
import { windowSeconds } from '../domain/options.ts';
import { type FailureExample, reasonToPause } from '../domain/pausing.ts';
import type { NewRecord } from '../domain/record.ts';
import { RagmillError } from '../errors.ts';
import { dropChunks } from './sqlite-file-batches.ts';
import type { SqliteLeases } from './sqlite-leases.ts';
import type { SqliteStatements } from './sqlite-statements.ts';

interface FoundBatch {
  readonly key: number;
  readonly status: BatchStatus;
}

export class SqliteLifecycle {
  readonly #sql: SqliteStatements;
  readonly #leases: SqliteLeases;

  constructor(statements: SqliteStatements, leases: SqliteLeases) {
    this.#sql = statements;
    this.#leases = leases;
  }

  /** The check of a file has found nothing wrong. */
  begin(batchId: string, inputBytes: number, nowSeconds: number): void {
    const key = this.#change(batchId, 'begin');
    if (key === null) return;
    const row = this.#sql.get(
      `UPDATE batches SET in_progress_at = ?, input_bytes = ?, pause_at = options ->> '$.pauseAfter'
       WHERE key = ? RETURNING total`,
      nowSeconds,
      inputBytes,
      key,
    );
    if (row?.total === 0) throw new RagmillError('empty_upload', 'The file has no lines.');
  }

  fail(batchId: string, errors: readonly ValidationError[], nowSeconds: number): void {
    const key = this.#change(batchId, 'fail');
    if (key === null) return;
    this.#sql.run(
      'UPDATE batches SET ended_at = ?, errors = ? WHERE key = ?',
      nowSeconds,
      JSON.stringify(errors),
      key,
    );
    dropChunks(this.#sql, key);
  }

  /** Started lines go on: their leases stay. */
  pause(batchId: string): void {
    const key = this.#change(batchId, 'pause');
    if (key !== null)
      this.#explainPause(key, 'requested', 'The batch was paused by request. Resume it to go on.');
  }

  resume(batchId: string): void {
    const key = this.#change(batchId, 'resume');
    if (key === null) return;
    // What paused it has been seen: it looks at what comes from here on.
    this.#sql.run(
      `UPDATE batches SET pause_at = CASE WHEN pause_at <= ran_lines THEN NULL ELSE pause_at END,
         watched_finished = 0, watched_failed = 0 WHERE key = ?`,
      key,
    );
  }

  cancel(batchId: string, nowSeconds: number): void {
    const key = this.#change(batchId, 'cancel');
    if (key === null) return;
    this.#sql.run('UPDATE batches SET cancelling_at = ? WHERE key = ?', nowSeconds, key);
    this.#leases.voidAll(key);
    // Before its check was over it had no lines to record.
    if (this.#find(batchId)?.status === 'cancelled') {
      this.#sql.run('UPDATE batches SET ended_at = ? WHERE key = ?', nowSeconds, key);
      dropChunks(this.#sql, key);
    }
  }

  expire(batchId: string, nowSeconds: number): void {
    const key = this.#change(batchId, 'expire');
    if (key === null) return;
    this.#sql.run('UPDATE batches SET finalizing_at = ? WHERE key = ?', nowSeconds, key);
    this.#leases.voidAll(key);
  }

  /** Gone at once for readers; the rows go bit by bit. */
  remove(batchId: string): 'deleted' | 'not_finished' | null {
    const batch = this.#find(batchId);
    if (!batch) return null;
    if (!isTerminal(batch.status)) return 'not_finished';
    this.#sql.run("UPDATE batches SET status = 'deleting' WHERE key = ?", batch.key);
    this.#sql.run('DELETE FROM idempotency_keys WHERE batch_id = ?', batchId);
    return 'deleted';
  }

  /** A finished batch begins its next run. */
  restart(batchKey: number, nowSeconds: number): void {
    const row = this.#sql.get('SELECT id, options FROM batches WHERE key = ?', batchKey);
    const { completionWindow } = JSON.parse(String(row?.options));
    this.#change(String(row?.id), 'retry');
    // Its end is taken back, but not that of its files.
    this.#sql.run(
      `UPDATE batches SET output_bytes = NULL, error_bytes = NULL
       WHERE key = ? AND ended_at + output_life_seconds <= ?`,
      batchKey,
      nowSeconds,
    );
    this.#sql.run(
      `UPDATE batches SET run = run + 1, ended_at = NULL, cancelling_at = NULL, finalizing_at = NULL, expires_at = ?,
         pause_at = NULL, watched_finished = 0, watched_failed = 0
       WHERE key = ?`,
      completionWindow === null ? null : nowSeconds + windowSeconds(completionWindow),
      batchKey,
    );
    this.#sql.run('DELETE FROM line_starts WHERE batch_key = ?', batchKey);
  }

  /** After records were written: ends the batch with its last line, or pauses it when its options say so. */
  settle(batchKey: number, written: readonly NewRecord[], nowSeconds: number): BatchStatus {
    const row = this.#sql.get(
      `SELECT id, status, total - succeeded - failed - cancelled - expired AS open, options, pause_at, ran_lines,
         watched_finished, watched_failed FROM batches WHERE key = ?`,
      batchKey,
    );
    if (!row) throw new Error('records were written for no batch');
    const status = row.status as BatchStatus;
    if (row.open === 0) {
      const ended = nextStatus(status, 'finish') ?? status;
      this.#sql.run(
        'UPDATE batches SET status = ?, ended_at = ?, pause_code = NULL, pause_message = NULL WHERE key = ?',
        ended,
        nowSeconds,
        batchKey,
      );
      return ended;
    }
    if (status !== 'in_progress') return status;
    const pacing = {
      pauseAt: row.pause_at === null ? null : Number(row.pause_at),
      ranLines: Number(row.ran_lines),
      maxFailures: JSON.parse(String(row.options)).maxFailures,
      watchedFinished: Number(row.watched_finished),
      watchedFailed: Number(row.watched_failed),
    };
    const reason = reasonToPause(pacing, exampleOf(written));
    if (reason === null) return status;
    this.#change(String(row.id), 'pause');
    this.#explainPause(batchKey, reason.code, reason.message);
    return 'paused';
  }

  /** Answers the key of the batch whose status has changed; null: no such batch, or not legal now. */
  #change(batchId: string, event: BatchEvent): number | null {
    const batch = this.#find(batchId);
    const next = batch && nextStatus(batch.status, event);
    if (!next) return null;
    this.#sql.run(
      'UPDATE batches SET status = ?, pause_code = NULL, pause_message = NULL WHERE key = ?',
      next,
      batch.key,
    );
    return batch.key;
  }

  #find(batchId: string): FoundBatch | null {
    const row = this.#sql.get(
      'SELECT key, status FROM batches WHERE id = ? AND options IS NOT NULL',
      batchId,
    );
    const isGone = !row || row.status === 'deleting' || row.status === 'deleted';
    return isGone ? null : { key: Number(row.key), status: row.status as BatchStatus };
  }

  #explainPause(batchKey: number, code: string, message: string): void {
    this.#sql.run(
      'UPDATE batches SET pause_code = ?, pause_message = ? WHERE key = ?',
      code,
      message,
      batchKey,
    );
  }
}

/** The last of the records that failed on its way. */
function exampleOf(records: readonly NewRecord[]): FailureExample | null {
  const failed = records.findLast((record) => record.status === 'failed' && record.stage !== 'input');
  if (!failed) return null;
  const { error } = JSON.parse(failed.body) as { error?: { message?: string } };
  return { line: failed.line, code: failed.code ?? 'internal_error', message: error?.message ?? '' };
}
