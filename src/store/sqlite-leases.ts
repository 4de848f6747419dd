// The right to work on chunks: claims, renewals, give-backs, and the marks of lines whose call may have left.
//
// (W3) a write under a token that is not the chunk's changes nothing.
// (W4) a line has a start mark before its call leaves. Marks that a dead process left are deaths; those of a process
//      that gave its chunks back are none.

import { zstdDecompressSync } from 'node:zlib';
import { type BatchStatus, endingOf } from '../domain/batch-status.ts';
import { type ClaimedChunk, type Lease, SUSPECT_DEATHS } from '../domain/chunk.ts';
import { linesNotOpen } from './sqlite-open-lines.ts';
import type { Row } from './sqlite-rows.ts';
import type { SqliteStatements } from './sqlite-statements.ts';

/** A leased chunk's row, in numbers. */
export interface HeldChunk {
  readonly batchKey: number;
  readonly number: number;
  readonly openLines: number;
}

export class SqliteLeases {
  readonly #sql: SqliteStatements;
  /** Tokens that are renewed while the caller is too busy to ask for it. */
  #held = new Set<number>();

  constructor(statements: SqliteStatements) {
    this.#sql = statements;
  }

  /** Before the first operation: no lease outlives the process that held it, and its started lines saw it die. */
  recover(): void {
    this.#sql.run('UPDATE chunk_states SET lease_token = NULL WHERE lease_token IS NOT NULL');
    this.#sql.run('UPDATE batches SET leased = 0 WHERE leased > 0');
    this.#sql.run('UPDATE line_starts SET deaths = deaths + 1, is_started = 0 WHERE is_started = 1');
  }

  claim(batchId: string, nowMs: number, leaseMs: number): ClaimedChunk | null {
    const row = this.#sql.get(
      `SELECT s.batch_key, s.number, s.open_lines, s.run_lines, s.lease_token, b.status, b.run, b.pause_at, b.ran_lines
       FROM batches b JOIN chunk_states s INDEXED BY chunk_states_open ON s.batch_key = b.key
       WHERE b.id = ? AND b.status IN ('in_progress', 'cancelling', 'finalizing') AND s.open_lines > 0
         AND (s.lease_token IS NULL OR s.lease_expires_at <= ?)
       ORDER BY s.number LIMIT 1`,
      batchId,
      nowMs,
    );
    if (!row) return null;
    const [key, number] = [Number(row.batch_key), Number(row.number)];
    const token = this.#nextToken();
    this.#sql.run(
      'UPDATE chunk_states SET lease_token = ?, lease_expires_at = ? WHERE batch_key = ? AND number = ?',
      token,
      Math.ceil(nowMs + leaseMs),
      key,
      number,
    );
    if (row.lease_token === null) {
      this.#sql.run('UPDATE batches SET leased = leased + ? WHERE key = ?', Number(row.open_lines), key);
    }
    this.#held.add(token);
    return this.#claimed({ batchId, chunk: number, token }, row);
  }

  renew(leases: readonly Lease[], nowMs: number, leaseMs: number): Lease[] {
    this.#held = new Set(leases.map((lease) => lease.token));
    const lost = new Set(this.#renew(nowMs + leaseMs));
    return leases.filter((lease) => lost.has(lease.token));
  }

  /** Renews what is held without being asked. */
  renewHeld(nowMs: number, leaseMs: number): void {
    for (const lost of this.#renew(nowMs + leaseMs)) this.#held.delete(lost);
  }

  release(lease: Lease): void {
    const chunk = this.find(lease);
    if (!chunk) return;
    this.free(chunk, lease.token);
    this.#sql.run('UPDATE batches SET leased = leased - ? WHERE key = ?', chunk.openLines, chunk.batchKey);
    this.#forgetStarts(chunk);
  }

  markStarted(lease: Lease, lines: readonly number[]): boolean {
    const chunk = this.find(lease);
    if (!chunk) return false;
    for (const line of lines) {
      this.#sql.run(
        `INSERT INTO line_starts (batch_key, line, is_started) VALUES (?, ?, 1)
         ON CONFLICT (batch_key, line) DO UPDATE SET is_started = 1`,
        chunk.batchKey,
        line,
      );
    }
    return true;
  }

  /** The chunk, while the lease is good. */
  find(lease: Lease): HeldChunk | null {
    const row = this.#sql.get(
      `SELECT s.batch_key, s.open_lines FROM batches b JOIN chunk_states s ON s.batch_key = b.key
       WHERE b.id = ? AND s.number = ? AND s.lease_token = ?`,
      lease.batchId,
      lease.chunk,
      lease.token,
    );
    if (!row) return null;
    return { batchKey: Number(row.batch_key), number: lease.chunk, openLines: Number(row.open_lines) };
  }

  free(chunk: HeldChunk, token: number): void {
    this.#held.delete(token);
    this.#sql.run(
      'UPDATE chunk_states SET lease_token = NULL, lease_expires_at = NULL WHERE batch_key = ? AND number = ?',
      chunk.batchKey,
      chunk.number,
    );
  }

  /** From here on the fence refuses what runs for the batch. */
  voidAll(batchKey: number): void {
    this.#sql.run(
      'UPDATE chunk_states SET lease_token = NULL, lease_expires_at = NULL WHERE batch_key = ? AND lease_token IS NOT NULL',
      batchKey,
    );
    this.#sql.run('UPDATE batches SET leased = 0 WHERE key = ?', batchKey);
    this.#sql.run('DELETE FROM line_starts WHERE batch_key = ?', batchKey);
  }

  #claimed(lease: Lease, row: Row): ClaimedChunk {
    const key = Number(row.batch_key);
    const chunk = this.#sql.get(
      'SELECT first_line, span, input, problems FROM chunks WHERE batch_key = ? AND number = ?',
      key,
      lease.chunk,
    );
    if (!chunk) throw new Error(`chunk ${lease.chunk} of ${lease.batchId} has no input`);
    const [firstLine, span] = [Number(chunk.first_line), Number(chunk.span)];
    const suspects = this.#sql.all(
      'SELECT line FROM line_starts WHERE batch_key = ? AND line >= ? AND line < ? AND deaths >= ?',
      key,
      firstLine,
      firstLine + span,
      SUSPECT_DEATHS,
    );
    return {
      lease,
      ending: endingOf(row.status as BatchStatus),
      firstLine,
      text: zstdDecompressSync(chunk.input as Uint8Array),
      problems: chunk.problems === null ? [] : JSON.parse(String(chunk.problems)),
      finishedLines: linesNotOpen(this.#sql, {
        batchKey: key,
        run: Number(row.run),
        firstLine,
        span,
        runLines: row.run_lines === null ? null : JSON.parse(String(row.run_lines)),
      }),
      suspectLines: suspects.map((suspect) => Number(suspect.line)),
      runnableLines: row.pause_at === null ? null : Number(row.pause_at) - Number(row.ran_lines),
    };
  }

  /** Answers the held tokens that are no chunk's any more. */
  #renew(expiresAtMs: number): number[] {
    return [...this.#held].filter(
      (token) =>
        this.#sql.run(
          'UPDATE chunk_states SET lease_expires_at = ? WHERE lease_token = ?',
          Math.ceil(expiresAtMs),
          token,
        ) === 0,
    );
  }

  #forgetStarts({ batchKey, number }: HeldChunk): void {
    const within = `batch_key = ?1 AND line >= (SELECT first_line FROM chunks WHERE batch_key = ?1 AND number = ?2)
      AND line < (SELECT first_line + span FROM chunks WHERE batch_key = ?1 AND number = ?2)`;
    this.#sql.run(`DELETE FROM line_starts WHERE deaths = 0 AND ${within}`, batchKey, number);
    this.#sql.run(`UPDATE line_starts SET is_started = 0 WHERE ${within}`, batchKey, number);
  }

  #nextToken(): number {
    return nextToken(this.#sql);
  }
}

/** One number line for leases and rank 0: a token given later is always greater. */
export function nextToken(sql: SqliteStatements): number {
  return Number(sql.get('UPDATE fencing SET last_token = last_token + 1 RETURNING last_token')?.last_token);
}
