// What a group of records changes in the counters of their batch, gathered and written at once.

import type { ResultFileKind } from '../domain/file.ts';
import type { NewRecord, RagStatus, RecordStatus } from '../domain/record.ts';
import type { SqliteStatements } from './sqlite-statements.ts';

/** The part of a record that counts as long as it is its line's current one. */
interface Counted {
  readonly status: RecordStatus;
  readonly rag: RagStatus | null;
  /** Of its line's entry in the file that it stands in. */
  readonly fileBytes: number;
}

export class CounterChanges {
  readonly #statuses = { succeeded: 0, failed: 0, cancelled: 0, expired: 0 };
  readonly #rag = { success: 0, soft_failure: 0, hard_failure: 0 };
  readonly #tokens = { prompt: 0, completion: 0, cached: 0, reasoning: 0 };
  readonly #fileBytes = { output: 0, error: 0 };
  readonly #generations: Set<number>;
  #ran = 0;
  #failed = 0;

  constructor(generations: readonly number[]) {
    this.#generations = new Set(generations);
  }

  /** `current`: the record that its line has from now on. */
  add(record: NewRecord, current: Counted): void {
    this.#statuses[current.status] += 1;
    if (current.rag !== null) this.#rag[current.rag] += 1;
    this.#tokens.prompt += record.promptTokens;
    this.#tokens.completion += record.completionTokens;
    this.#tokens.cached += record.cachedTokens;
    this.#tokens.reasoning += record.reasoningTokens;
    if (record.collectionGeneration !== null) this.#generations.add(record.collectionGeneration);
    const hasFailed = record.status === 'failed' && record.stage !== 'input';
    if (record.status === 'succeeded' || hasFailed) this.#ran += 1;
    if (hasFailed) this.#failed += 1;
  }

  /** The files hold current records only, one that a retry runs again included, until the new one has come. */
  exchange(current: Counted, replaced: Counted | null): void {
    this.#fileBytes[fileOf(current.status)] += current.fileBytes;
    if (replaced) this.#fileBytes[fileOf(replaced.status)] -= replaced.fileBytes;
  }

  write(sql: SqliteStatements, batchKey: number, log: { lastSeq: number; logBytes: number }): void {
    sql.run(
      `UPDATE batches SET last_seq = ?, log_bytes = ?,
         succeeded = succeeded + ?, failed = failed + ?, cancelled = cancelled + ?, expired = expired + ?,
         rag_success = rag_success + ?, rag_soft_failure = rag_soft_failure + ?, rag_hard_failure = rag_hard_failure + ?,
         prompt_tokens = prompt_tokens + ?, completion_tokens = completion_tokens + ?, cached_tokens = cached_tokens + ?,
         reasoning_tokens = reasoning_tokens + ?, output_bytes = output_bytes + ?, error_bytes = error_bytes + ?,
         ran_lines = ran_lines + ?, watched_finished = watched_finished + ?, watched_failed = watched_failed + ?,
         collection_generations = ?
       WHERE key = ?`,
      log.lastSeq,
      log.logBytes,
      this.#statuses.succeeded,
      this.#statuses.failed,
      this.#statuses.cancelled,
      this.#statuses.expired,
      this.#rag.success,
      this.#rag.soft_failure,
      this.#rag.hard_failure,
      this.#tokens.prompt,
      this.#tokens.completion,
      this.#tokens.cached,
      this.#tokens.reasoning,
      this.#fileBytes.output,
      this.#fileBytes.error,
      this.#ran,
      this.#ran,
      this.#failed,
      JSON.stringify([...this.#generations].sort((a, b) => a - b)),
      batchKey,
    );
  }
}

function fileOf(status: RecordStatus): ResultFileKind {
  return status === 'succeeded' ? 'output' : 'error';
}
