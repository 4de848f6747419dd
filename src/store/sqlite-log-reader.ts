// Reading the result log of a batch: by seq, by line, and by byte.

import type { ResultFileKind } from '../domain/file.ts';
import type { StoredRecord, StoredResponse } from '../domain/record.ts';
import { linesNotOpen } from './sqlite-open-lines.ts';
import { type Row, toStoredRecord, toStoredResponse } from './sqlite-rows.ts';
import type { SqliteStatements } from './sqlite-statements.ts';
import type { InputOrderPage, RecordPage } from './store.ts';

/** A page ends after this many characters, however few records they are: it is read on the main thread. */
const PAGE_CHARACTERS = 256 * 1024;

export class SqliteLogReader {
  readonly #sql: SqliteStatements;
  readonly #keyOf: (batchId: string) => number;

  constructor(statements: SqliteStatements, keyOf: (batchId: string) => number) {
    this.#sql = statements;
    this.#keyOf = keyOf;
  }

  bySeq(batchId: string, page: RecordPage): StoredRecord[] {
    const rows = this.#sql
      .prepare(
        // A retry leaves long stretches of replaced records: the index of the current ones has none of them.
        `SELECT seq, line, status, body FROM records ${page.currentOnly ? 'INDEXED BY records_current' : ''}
         WHERE batch_key = ? AND seq > ? AND seq <= ? ${page.currentOnly ? 'AND is_current = 1' : ''}
         ORDER BY seq LIMIT ?`,
      )
      .iterate(this.#keyOf(batchId), page.afterSeq, page.upToSeq ?? Number.MAX_SAFE_INTEGER, page.limit);
    return takePage(rows, toStoredRecord);
  }

  inInputOrder(batchId: string, page: InputOrderPage): StoredRecord[] {
    const key = this.#keyOf(batchId);
    const rows = this.#sql
      .prepare(
        `SELECT seq, line, status, body FROM records
         WHERE batch_key = ? AND line > ? AND is_current = 1 ORDER BY line LIMIT ?`,
      )
      .iterate(key, page.afterLine, page.limit);
    if (!page.stopAtGap) return takePage(rows, toStoredRecord);
    const firstOpen = this.#firstOpenLine(key, page.afterLine);
    return takePage(rows, (row) => {
      const record = toStoredRecord(row);
      return record.line < firstOpen ? record : null;
    });
  }

  /** The index alone tells which of the current records belong in the file. */
  responses(
    batchId: string,
    page: { kind: ResultFileKind; afterSeq: number; limit: number },
  ): StoredResponse[] {
    const rows = this.#sql
      .prepare(
        `SELECT seq, line, status, body, response_status, response FROM records INDEXED BY records_current
         WHERE batch_key = ? AND seq > ? AND is_current = 1 AND status ${page.kind === 'output' ? '=' : '<>'} 'succeeded'
         ORDER BY seq LIMIT ?`,
      )
      .iterate(this.#keyOf(batchId), page.afterSeq, page.limit);
    return takePage(
      rows,
      toStoredResponse,
      ({ body, response }) => body.length + (response?.body.length ?? 0),
    );
  }

  end(batchId: string, upToSeq?: number): { lastSeq: number; bytes: number } {
    const key = this.#keyOf(batchId);
    const row = this.#sql.get('SELECT last_seq, log_bytes FROM batches WHERE key = ?', key);
    const lastSeq = Number(row?.last_seq);
    if (upToSeq === undefined || upToSeq >= lastSeq) return { lastSeq, bytes: Number(row?.log_bytes) };
    return { lastSeq: upToSeq, bytes: this.#endOf(key, upToSeq) };
  }

  /** Offsets grow with the seqs, so the record is found by halving. */
  seek(batchId: string, offset: number): { seq: number; startOffset: number } {
    const key = this.#keyOf(batchId);
    let [low, high] = [1, this.end(batchId).lastSeq];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#endOf(key, middle) > offset) high = middle;
      else low = middle + 1;
    }
    return { seq: low, startOffset: this.#endOf(key, low - 1) };
  }

  /** Bytes of the log up to and including this record; 0 before the first. */
  #endOf(key: number, seq: number): number {
    const row = this.#sql.get('SELECT end_offset FROM records WHERE batch_key = ? AND seq = ?', key, seq);
    return Number(row?.end_offset ?? 0);
  }

  /** The first line above this one that waits for a record in the current run; infinite: none. */
  #firstOpenLine(key: number, afterLine: number): number {
    const chunks = this.#sql
      .prepare(
        `SELECT c.first_line, c.span, c.blank_lines, s.run_lines, b.run
         FROM chunk_states s INDEXED BY chunk_states_open JOIN chunks c ON c.batch_key = s.batch_key AND c.number = s.number
           JOIN batches b ON b.key = s.batch_key
         WHERE s.batch_key = ? AND s.open_lines > 0 AND s.number >= ? ORDER BY s.number`,
      )
      .iterate(key, this.#chunkWith(key, afterLine + 1));
    for (const row of chunks) {
      const line = firstOpenIn(this.#sql, key, row, afterLine);
      if (line !== null) return line;
    }
    return Number.POSITIVE_INFINITY;
  }

  /** Number of the chunk that holds the line, or of the last one before it. */
  #chunkWith(key: number, line: number): number {
    const row = this.#sql.get(
      'SELECT number FROM chunks WHERE batch_key = ? AND first_line <= ? ORDER BY first_line DESC LIMIT 1',
      key,
      line,
    );
    return Number(row?.number ?? 0);
  }
}

function firstOpenIn(sql: SqliteStatements, batchKey: number, row: Row, afterLine: number): number | null {
  const [firstLine, span] = [Number(row.first_line), Number(row.span)];
  const notOpen = new Set([
    ...linesNotOpen(sql, {
      batchKey,
      run: Number(row.run),
      firstLine,
      span,
      runLines: row.run_lines === null ? null : JSON.parse(String(row.run_lines)),
    }),
    ...(row.blank_lines === null ? [] : (JSON.parse(String(row.blank_lines)) as number[])),
  ]);
  for (let line = Math.max(firstLine, afterLine + 1); line < firstLine + span; line += 1) {
    if (!notOpen.has(line)) return line;
  }
  return null;
}

/** `toRecord`: null ends the page before the row. */
function takePage<T extends StoredRecord>(
  rows: Iterable<Row>,
  toRecord: (row: Row) => T | null,
  charactersOf: (record: T) => number = ({ body }) => body.length,
): T[] {
  const page: T[] = [];
  let characters = 0;
  for (const row of rows) {
    const record = toRecord(row);
    if (record === null) break;
    page.push(record);
    characters += charactersOf(record);
    if (characters >= PAGE_CHARACTERS) break;
  }
  return page;
}
