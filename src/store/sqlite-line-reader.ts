// Reading single lines of a batch: what was uploaded, and all that is kept about one line.

import { zstdDecompressSync } from 'node:zlib';
import type { KeptPassage } from '../domain/record.ts';
import { linesNotOpen } from './sqlite-open-lines.ts';
import { type Row, toStoredRecord } from './sqlite-rows.ts';
import type { SqliteStatements } from './sqlite-statements.ts';
import type { InputLine, LineHistory, RecordSource } from './store.ts';

const NEWLINE = 0x0a;

export class SqliteLineReader {
  readonly #sql: SqliteStatements;
  readonly #keyOf: (batchId: string) => number;

  constructor(statements: SqliteStatements, keyOf: (batchId: string) => number) {
    this.#sql = statements;
    this.#keyOf = keyOf;
  }

  /** The lines above `afterLine` of the chunk that the next of them stands in; null: there are none. */
  input(
    batchId: string,
    page: { afterLine: number; status: 'succeeded' | 'failed' | null },
  ): { lines: InputLine[]; lastLine: number } | null {
    const key = this.#keyOf(batchId);
    const chunk = this.#chunkAfter(key, page.afterLine);
    if (!chunk) return null;
    const lastLine = Number(chunk.first_line) + Number(chunk.span) - 1;
    const wanted = page.status === null ? null : this.#linesWith(key, chunk, page.status);
    const lines = linesOf(chunk).filter(
      ({ line }) => line > page.afterLine && (wanted === null || wanted.has(line)),
    );
    return { lines, lastLine };
  }

  history(batchId: string, line: number): LineHistory | null {
    const key = this.#keyOf(batchId);
    const chunk = this.#chunkAfter(key, line - 1);
    const input = chunk && linesOf(chunk).find((candidate) => candidate.line === line);
    if (!chunk || !input) return null;
    const records = this.#sql.all(
      'SELECT seq, line, run, status, is_current, details, body FROM records WHERE batch_key = ? AND line = ? ORDER BY run',
      key,
      line,
    );
    return {
      input: input.bytes,
      open: this.#openState(key, chunk, line),
      records: records.map((row) => ({
        ...toStoredRecord(row),
        run: Number(row.run),
        isCurrent: row.is_current === 1,
        details: row.details === null ? null : JSON.parse(String(row.details)),
      })),
    };
  }

  passages(batchId: string, hashes: readonly string[]): Map<string, KeptPassage> {
    const rows = this.#sql.all(
      'SELECT hash, content FROM passages WHERE batch_key = ? AND hash IN (SELECT value FROM json_each(?))',
      this.#keyOf(batchId),
      JSON.stringify(hashes),
    );
    return new Map(rows.map((row) => [String(row.hash), JSON.parse(String(row.content))]));
  }

  /** A page of records comes from few chunks, each of which is unpacked once. */
  sources(
    batchId: string,
    records: readonly { readonly seq: number; readonly line: number }[],
  ): Map<number, RecordSource> {
    const key = this.#keyOf(batchId);
    const wanted = new Set(records.map(({ line }) => line));
    const inputs = new Map<number, Buffer>();
    const found = new Map<number, RecordSource>();
    for (const { seq, line } of records) {
      const chunk = inputs.has(line) ? undefined : this.#chunkAfter(key, line - 1);
      for (const other of chunk ? linesOf(chunk) : []) {
        // A copy: the line must not keep its whole chunk.
        if (wanted.has(other.line)) inputs.set(other.line, Buffer.from(other.bytes));
      }
      const row = this.#sql.get('SELECT details FROM records WHERE batch_key = ? AND seq = ?', key, seq);
      const hashes: string[] = row?.details ? JSON.parse(String(row.details)).passages : [];
      const texts = hashes.length > 0 ? this.passages(batchId, hashes) : new Map<string, KeptPassage>();
      found.set(seq, {
        input: inputs.get(line) ?? Buffer.alloc(0),
        passages: hashes.flatMap((hash) => texts.get(hash) ?? []),
      });
    }
    return found;
  }

  #chunkAfter(key: number, line: number): Row | undefined {
    return this.#sql.get(
      `SELECT c.*, s.run_lines, s.open_lines, s.lease_token, b.run
       FROM chunks c JOIN chunk_states s ON s.batch_key = c.batch_key AND s.number = c.number
         JOIN batches b ON b.key = c.batch_key
       WHERE c.batch_key = ?1 AND c.first_line + c.span > ?2 + 1
         AND c.first_line >= coalesce((SELECT max(first_line) FROM chunks WHERE batch_key = ?1 AND first_line <= ?2 + 1), 0)
       ORDER BY c.first_line LIMIT 1`,
      key,
      line,
    );
  }

  #linesWith(key: number, chunk: Row, status: 'succeeded' | 'failed'): Set<number> {
    const comparison = status === 'succeeded' ? '=' : '<>';
    const rows = this.#sql.all(
      `SELECT line FROM records WHERE batch_key = ? AND line >= ? AND line < ? AND is_current = 1
         AND status ${comparison} 'succeeded'`,
      key,
      Number(chunk.first_line),
      Number(chunk.first_line) + Number(chunk.span),
    );
    return new Set(rows.map((row) => Number(row.line)));
  }

  #openState(key: number, chunk: Row, line: number): 'queued' | 'leased' | null {
    if (chunk.open_lines === 0) return null;
    const notOpen = linesNotOpen(this.#sql, {
      batchKey: key,
      run: Number(chunk.run),
      firstLine: Number(chunk.first_line),
      span: Number(chunk.span),
      runLines: chunk.run_lines === null ? null : JSON.parse(String(chunk.run_lines)),
    });
    if (notOpen.includes(line)) return null;
    return chunk.lease_token === null ? 'queued' : 'leased';
  }
}

/** The lines of a chunk, without the blank ones; one over the length limit was kept empty. */
function linesOf(chunk: Row): InputLine[] {
  const text = zstdDecompressSync(chunk.input as Uint8Array);
  const blanks = new Set<number>(chunk.blank_lines === null ? [] : JSON.parse(String(chunk.blank_lines)));
  const lines: InputLine[] = [];
  let [line, start] = [Number(chunk.first_line), 0];
  while (start <= text.length) {
    const newline = text.indexOf(NEWLINE, start);
    const end = newline === -1 ? text.length : newline;
    if (!blanks.has(line)) lines.push({ line, bytes: text.subarray(start, end) });
    line += 1;
    start = end + 1;
  }
  return lines;
}
