// The writing side of a batch's result log: gives records their seqs and keeps the batch's counters in step.
//
// (W1) queued + leased + succeeded + failed + cancelled + expired = total, per batch, by current records.
// (W2) a batch's records have the seqs 1 … last_seq without a gap, and at most one record a line and run.
// (W5) output_bytes and error_bytes are the sums of file_bytes of the current records that succeeded, and of the others;
//      NULL stays NULL.

import type { KeptPassage, NewRecord, RagStatus, RecordStatus } from '../domain/record.ts';
import { CounterChanges } from './sqlite-counters.ts';
import type { SqliteStatements } from './sqlite-statements.ts';

/** What a line's record meets: the one that was current before. */
interface Earlier {
  readonly seq: number;
  readonly status: RecordStatus;
  readonly rag: RagStatus | null;
  readonly fileBytes: number;
}

interface LogPosition {
  readonly batchKey: number;
  readonly run: number;
  readonly seq: number;
  readonly offset: number;
}

export class SqliteRecordLog {
  readonly #sql: SqliteStatements;

  constructor(statements: SqliteStatements) {
    this.#sql = statements;
  }

  /** Appends those records whose line has none in this run yet, and answers them. */
  append(batchKey: number, records: readonly NewRecord[]): NewRecord[] {
    const batch = this.#sql.get(
      'SELECT run, last_seq, log_bytes, collection_generations FROM batches WHERE key = ?',
      batchKey,
    );
    const run = Number(batch?.run);
    const changes = new CounterChanges(JSON.parse(String(batch?.collection_generations)));
    const written: NewRecord[] = [];
    let seq = Number(batch?.last_seq);
    let offset = Number(batch?.log_bytes);
    for (const record of records) {
      const earlier = run === 1 ? null : this.#current(batchKey, record.line);
      const becomesCurrent = record.status === 'succeeded' || earlier?.status !== 'succeeded';
      const replaced = becomesCurrent ? earlier : null;
      const body = servedBody(record, seq + 1, replaced);
      const endOffset = offset + Buffer.byteLength(body) + 1;
      const position = { batchKey, run, seq: seq + 1, offset: endOffset };
      if (!this.#insert(position, record, { body, isCurrent: becomesCurrent })) continue;
      seq += 1;
      offset = endOffset;
      if (replaced) this.#retire(batchKey, replaced.seq);
      written.push(record);
      changes.add(record, becomesCurrent || !earlier ? record : earlier);
      if (becomesCurrent) changes.exchange(record, replaced);
    }
    changes.write(this.#sql, batchKey, { lastSeq: seq, logBytes: offset });
    this.#forgetStarts(batchKey, written);
    return written;
  }

  /** Keeps texts that the batch does not have yet. */
  keepPassages(batchKey: number, passages: ReadonlyMap<string, KeptPassage>): void {
    for (const [hash, passage] of passages) {
      this.#sql.run(
        'INSERT OR IGNORE INTO passages (batch_key, hash, content) VALUES (?, ?, ?)',
        batchKey,
        hash,
        JSON.stringify(passage),
      );
    }
  }

  #insert(position: LogPosition, record: NewRecord, served: { body: string; isCurrent: boolean }): boolean {
    const changes = this.#sql.run(
      `INSERT INTO records (batch_key, seq, line, run, status, is_current, rag, stage, code, endpoint, end_offset, details, body,
         file_bytes, response_status, response)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (batch_key, line, run) DO NOTHING`,
      position.batchKey,
      position.seq,
      record.line,
      position.run,
      record.status,
      served.isCurrent ? 1 : 0,
      record.rag,
      record.stage,
      record.code,
      record.endpoint,
      position.offset,
      record.details === null ? null : JSON.stringify(record.details),
      served.body,
      record.fileBytes,
      record.response?.status ?? null,
      record.response?.body ?? null,
    );
    return changes > 0;
  }

  #current(batchKey: number, line: number): Earlier | null {
    const row = this.#sql.get(
      'SELECT seq, status, rag, file_bytes FROM records WHERE batch_key = ? AND line = ? AND is_current = 1',
      batchKey,
      line,
    );
    if (!row) return null;
    return {
      seq: Number(row.seq),
      status: row.status as RecordStatus,
      rag: row.rag as RagStatus | null,
      fileBytes: Number(row.file_bytes),
    };
  }

  #retire(batchKey: number, seq: number): void {
    this.#sql.run('UPDATE records SET is_current = 0 WHERE batch_key = ? AND seq = ?', batchKey, seq);
  }

  #forgetStarts(batchKey: number, records: readonly NewRecord[]): void {
    for (const record of records) {
      this.#sql.run('DELETE FROM line_starts WHERE batch_key = ? AND line = ?', batchKey, record.line);
    }
  }
}

/** The bytes a record is served with, made once and for ever. */
function servedBody(record: NewRecord, seq: number, replaced: Earlier | null): string {
  const replaces = replaced === null ? '' : `"replaces":${replaced.seq},`;
  return `{"seq":${seq},${replaces}${record.body.slice(1)}`;
}
