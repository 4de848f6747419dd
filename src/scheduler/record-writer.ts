// Hands the endings of lines to the store. Records of one chunk that arrive together are written together; a full
// disk makes them wait here, bounded by what is in hand, until there is space again.

import type { NewRecord } from '../domain/record.ts';
import { RagmillError } from '../errors.ts';
import type { Metrics } from '../metrics.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../time.ts';
import type { LeasedChunk } from './work.ts';

export interface SchedulerLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface RecordWriterOptions {
  readonly store: Store;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: SchedulerLog;
  /** Called when the records are on the disk. */
  readonly onStored: (chunk: LeasedChunk, records: readonly NewRecord[], isBatchEnd: boolean) => void;
  /** Called when the lease turned out to be lost: nothing was written. */
  readonly onStale: (chunk: LeasedChunk) => void;
}

/** Wait before a write that failed is tried again, in milliseconds. */
const RETRY_INTERVAL_MS = 1_000;

export class RecordWriter {
  readonly #options: RecordWriterOptions;
  readonly #pending = new Map<LeasedChunk, NewRecord[]>();
  readonly #writing = new Set<Promise<void>>();
  readonly #stopped = new AbortController();

  constructor(options: RecordWriterOptions) {
    this.#options = options;
  }

  add(chunk: LeasedChunk, record: NewRecord): void {
    const pending = this.#pending.get(chunk);
    if (pending) {
      pending.push(record);
      return;
    }
    this.#pending.set(chunk, [record]);
    // One turn of the loop gathers what ends together.
    setImmediate(() => this.#flush(chunk));
  }

  /** Waits for everything handed over; what the disk refuses now is given up, and runs again after a restart. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    for (const chunk of [...this.#pending.keys()]) this.#flush(chunk);
    await Promise.all(this.#writing);
  }

  #flush(chunk: LeasedChunk): void {
    const records = this.#pending.get(chunk);
    if (!records) return;
    this.#pending.delete(chunk);
    const writing = this.#write(chunk, records).finally(() => this.#writing.delete(writing));
    this.#writing.add(writing);
  }

  async #write(chunk: LeasedChunk, records: readonly NewRecord[]): Promise<void> {
    const { store, metrics, clock, log, onStored, onStale } = this.#options;
    for (;;) {
      try {
        const result = await store.appendRecords(chunk.lease, records);
        if (result !== 'stale') return onStored(chunk, records, result === 'batch_ended');
        metrics.staleWrites.inc();
        return onStale(chunk);
      } catch (error) {
        const code = error instanceof RagmillError ? error.code : 'internal_error';
        log.error(
          { err: error, code, batch: chunk.lease.batchId },
          'records could not be stored; trying again',
        );
      }
      if (this.#stopped.signal.aborted) return;
      await clock.sleep(RETRY_INTERVAL_MS, this.#stopped.signal).catch(() => {});
    }
  }
}
