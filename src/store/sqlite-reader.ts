// The reading connection: short statements, each its own transaction, so that no reader holds back the log's
// checkpoints however slowly its client takes the answer.

import type { DatabaseSync } from 'node:sqlite';
import type { Batch } from '../domain/batch.ts';
import type { CollectionRecord } from '../domain/collection.ts';
import type { StoredRecord } from '../domain/record.ts';
import { RagmillError } from '../errors.ts';
import { toBatch, toCollectionRecord, toStoredRecord } from './sqlite-rows.ts';
import { SqliteStatements } from './sqlite-statements.ts';
import type { ActiveBatch, InputOrderPage, RecordPage } from './store.ts';

/** A page ends after this many characters, however few records they are. */
const PAGE_CHARACTERS = 1024 * 1024;

const VISIBLE = "status <> 'uploading'";

export class SqliteReader {
  readonly #database: DatabaseSync;
  readonly #statements: SqliteStatements;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#statements = new SqliteStatements(database);
  }

  storeId(): string {
    return String(this.#statements.prepare("SELECT value FROM meta WHERE key = 'store_id'").get()?.value);
  }

  batch(id: string): Batch | null {
    const row = this.#statements.prepare(`SELECT * FROM batches WHERE id = ? AND ${VISIBLE}`).get(id);
    return row ? toBatch(row) : null;
  }

  batches(after: string | null, limit: number): { batches: Batch[]; hasMore: boolean } {
    let below = Number.MAX_SAFE_INTEGER;
    if (after !== null) {
      const row = this.#statements.prepare(`SELECT key FROM batches WHERE id = ? AND ${VISIBLE}`).get(after);
      if (!row)
        throw new RagmillError('batch_not_found', `No batch has the id ${after} that stands in "after".`);
      below = Number(row.key);
    }
    const rows = this.#statements
      .prepare(`SELECT * FROM batches WHERE key < ? AND ${VISIBLE} ORDER BY key DESC LIMIT ?`)
      .all(below, limit + 1);
    return { batches: rows.slice(0, limit).map(toBatch), hasMore: rows.length > limit };
  }

  activeBatches(): ActiveBatch[] {
    return this.#statements
      .prepare(
        "SELECT id, status, options FROM batches WHERE status IN ('in_progress', 'cancelling') ORDER BY key",
      )
      .all()
      .map((row) => ({
        id: String(row.id),
        isCancelling: row.status === 'cancelling',
        options: JSON.parse(String(row.options)),
      }));
  }

  currentCollection(): CollectionRecord | null {
    const row = this.#statements.prepare('SELECT * FROM collections ORDER BY generation DESC LIMIT 1').get();
    return row ? toCollectionRecord(row) : null;
  }

  records(batchId: string, page: RecordPage): StoredRecord[] {
    const key = this.#key(batchId);
    const rows = this.#statements
      .prepare(
        'SELECT seq, line, status, body FROM records WHERE batch_key = ? AND seq > ? ORDER BY seq LIMIT ?',
      )
      .iterate(key, page.afterSeq, page.limit);
    return takePage(rows, () => true);
  }

  recordsInInputOrder(batchId: string, page: InputOrderPage): StoredRecord[] {
    const key = this.#key(batchId);
    const rows = this.#statements
      .prepare(
        'SELECT seq, line, status, body FROM records WHERE batch_key = ? AND line > ? ORDER BY line LIMIT ?',
      )
      .iterate(key, page.afterLine, page.limit);
    if (!page.stopAtGap) return takePage(rows, () => true);
    const following = this.#lineFollower(key);
    let expected = following(page.afterLine);
    return takePage(rows, (record) => {
      if (record.line !== expected) return false;
      expected = following(record.line);
      return true;
    });
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  /** Answers which line of the batch follows a line: blank lines of an upload are none. */
  #lineFollower(key: number): (line: number) => number | null {
    const chunkAfter = this.#statements.prepare(
      `SELECT first_line, span, blank_lines FROM chunks
       WHERE batch_key = ? AND first_line + span > ? AND first_line >=
         coalesce((SELECT max(first_line) FROM chunks WHERE batch_key = ? AND first_line <= ?), 0)
       ORDER BY first_line LIMIT 1`,
    );
    let end = 0;
    let blanks = new Set<number>();
    return (line) => {
      let next = line + 1;
      if (next >= end) {
        const row = chunkAfter.get(key, next, key, next);
        if (!row) return null;
        const firstLine = Number(row.first_line);
        end = firstLine + Number(row.span);
        blanks = new Set(row.blank_lines === null ? [] : JSON.parse(String(row.blank_lines)));
        next = Math.max(next, firstLine);
      }
      // The last line of a chunk is never blank, so this ends within it.
      while (blanks.has(next)) next += 1;
      return next;
    };
  }

  #key(batchId: string): number {
    const row = this.#statements.prepare(`SELECT key FROM batches WHERE id = ? AND ${VISIBLE}`).get(batchId);
    if (!row) throw new RagmillError('batch_not_found', `No batch has the id ${batchId}.`);
    return Number(row.key);
  }
}

function takePage(
  rows: Iterable<Parameters<typeof toStoredRecord>[0]>,
  belongs: (record: StoredRecord) => boolean,
): StoredRecord[] {
  const page: StoredRecord[] = [];
  let characters = 0;
  for (const row of rows) {
    const record = toStoredRecord(row);
    if (!belongs(record)) break;
    page.push(record);
    characters += record.body.length;
    if (characters >= PAGE_CHARACTERS) break;
  }
  return page;
}
