// The writing side of a batch's result log: gives records their seqs and keeps the batch's counters in step.

import type { NewRecord } from '../domain/record.ts';
import type { SqliteStatements } from './sqlite-statements.ts';

export class SqliteRecordLog {
  readonly #statements: SqliteStatements;

  constructor(statements: SqliteStatements) {
    this.#statements = statements;
  }

  linesWithRecord(batchKey: number, firstLine: number, span: number): number[] {
    return this.#statements
      .prepare('SELECT line FROM records WHERE batch_key = ? AND line >= ? AND line < ?')
      .all(batchKey, firstLine, firstLine + span)
      .map((row) => Number(row.line));
  }

  /** Appends those records whose line has none yet; answers how many. */
  append(batchKey: number, records: readonly NewRecord[]): number {
    const batch = this.#statements
      .prepare('SELECT last_seq, collection_generations FROM batches WHERE key = ?')
      .get(batchKey);
    const insert = this.#statements.prepare(
      `INSERT INTO records (batch_key, seq, line, status, body) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (batch_key, line) DO NOTHING`,
    );
    const generations = new Set<number>(JSON.parse(String(batch?.collection_generations)));
    const firstSeq = Number(batch?.last_seq) + 1;
    const written: NewRecord[] = [];
    for (const record of records) {
      const seq = firstSeq + written.length;
      // `body` is a JSON object without its seq; the served bytes are made here, once and for ever.
      const body = `{"seq":${seq},${record.body.slice(1)}`;
      if (insert.run(batchKey, seq, record.line, record.status, body).changes === 0) continue;
      written.push(record);
      if (record.collectionGeneration !== null) generations.add(record.collectionGeneration);
    }
    this.#count(batchKey, written, generations);
    return written.length;
  }

  #count(batchKey: number, written: readonly NewRecord[], generations: ReadonlySet<number>): void {
    const sum = (value: (record: NewRecord) => number) =>
      written.reduce((total, record) => total + value(record), 0);
    const are = (is: (record: NewRecord) => boolean) => sum((record) => (is(record) ? 1 : 0));
    this.#statements
      .prepare(
        `UPDATE batches SET
         last_seq = last_seq + ?, succeeded = succeeded + ?, failed = failed + ?, cancelled = cancelled + ?,
         rag_success = rag_success + ?, rag_soft_failure = rag_soft_failure + ?, rag_hard_failure = rag_hard_failure + ?,
         prompt_tokens = prompt_tokens + ?, completion_tokens = completion_tokens + ?, cached_tokens = cached_tokens + ?,
         collection_generations = ?
       WHERE key = ?`,
      )
      .run(
        written.length,
        are((record) => record.status === 'succeeded'),
        are((record) => record.status === 'failed'),
        are((record) => record.status === 'cancelled'),
        are((record) => record.rag === 'success'),
        are((record) => record.rag === 'soft_failure'),
        are((record) => record.rag === 'hard_failure'),
        sum((record) => record.promptTokens),
        sum((record) => record.completionTokens),
        sum((record) => record.cachedTokens),
        JSON.stringify([...generations].sort((a, b) => a - b)),
        batchKey,
      );
  }
}
