// Hands the endings of lines to the store. Records of one chunk that arrive together, or while the store is at the last
// ones, are written together: what comes during a commit has to wait for the next one anyway. A full disk makes them wait
// here, bounded by what is in hand, until there is space again.

import type { BatchStatus } from '../domain/batch-status.ts';
import type { KeptPassage, NewRecord } from '../domain/record.ts';
import { RagmillError } from '../errors.ts';
import type { Metrics } from '../metrics.ts';
import type { AppendResult, Store } from '../store/store.ts';
import type { Clock } from '../time.ts';
import { isSubstitute, unstorableRecord } from './result-record.ts';
import type { StoreTrouble } from './store-trouble.ts';
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
  readonly trouble: StoreTrouble;
  /** Called when the records are on the disk. */
  readonly onStored: (chunk: LeasedChunk, records: readonly NewRecord[], status: BatchStatus) => void;
  /** Called with the texts that the batch has from now on. */
  readonly onPassagesStored: (batchId: string, hashes: Iterable<string>) => void;
  /** Called when the lease turned out to be lost: nothing was written. */
  readonly onStale: (chunk: LeasedChunk) => void;
}

interface Pending {
  readonly records: NewRecord[];
  readonly passages: Map<string, KeptPassage>;
}

/** Wait before a write that failed is tried again, in milliseconds. */
const RETRY_INTERVAL_MS = 1_000;
/** What nobody expected is the records' own trouble when it comes again. */
const UNEXPECTED_TRIES = 3;

export class RecordWriter {
  readonly #options: RecordWriterOptions;
  readonly #pending = new Map<LeasedChunk, Pending>();
  /** Chunks with records that the store has not answered for. */
  readonly #asked = new Set<LeasedChunk>();
  readonly #writing = new Set<Promise<void>>();
  readonly #stopped = new AbortController();

  constructor(options: RecordWriterOptions) {
    this.#options = options;
  }

  /** `passages`: texts that the batch may not have yet, by hash. */
  add(chunk: LeasedChunk, record: NewRecord, passages: ReadonlyMap<string, KeptPassage>): void {
    const pending = this.#pending.get(chunk);
    if (pending) {
      pending.records.push(record);
      for (const [hash, passage] of passages) pending.passages.set(hash, passage);
      return;
    }
    this.#pending.set(chunk, { records: [record], passages: new Map(passages) });
    // One turn of the loop gathers what ends together.
    if (!this.#asked.has(chunk)) setImmediate(() => this.#flush(chunk));
  }

  /** Waits for everything handed over; what the disk refuses now is given up, and runs again after a restart. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    for (const chunk of [...this.#pending.keys()]) this.#flush(chunk);
    await Promise.all(this.#writing);
  }

  #flush(chunk: LeasedChunk): void {
    const pending = this.#pending.get(chunk);
    if (!pending) return;
    this.#pending.delete(chunk);
    const writing = this.#write(chunk, pending).finally(() => this.#writing.delete(writing));
    this.#writing.add(writing);
  }

  async #write(chunk: LeasedChunk, { records, passages }: Pending): Promise<void> {
    const { metrics, trouble, onStored, onPassagesStored, onStale } = this.#options;
    const result = await this.#append(chunk, { records, passages });
    if (result === 'given_up') return;
    if (result === 'unstorable') return this.#writeApart(chunk, { records, passages });
    trouble.worked();
    if (result === 'stale') {
      metrics.staleWrites.inc();
      return onStale(chunk);
    }
    if (passages.size > 0) onPassagesStored(chunk.lease.batchId, passages.keys());
    onStored(chunk, records, result);
  }

  /** Tries until it works, the service stops, or the trouble turns out to be the records' own. */
  async #append(
    chunk: LeasedChunk,
    { records, passages }: Pending,
  ): Promise<AppendResult | 'given_up' | 'unstorable'> {
    const { clock, trouble } = this.#options;
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#ask(chunk, { records, passages });
      } catch (error) {
        const isOwn = error instanceof RagmillError && error.code === 'internal_error';
        if (isOwn && tries >= UNEXPECTED_TRIES && !records.every(isSubstitute)) return 'unstorable';
        trouble.failed(error);
      }
      if (this.#stopped.signal.aborted) return 'given_up';
      await clock.sleep(RETRY_INTERVAL_MS, this.#stopped.signal).catch(() => {});
    }
  }

  /** Whatever the answer is, what has come meanwhile goes next. */
  async #ask(chunk: LeasedChunk, { records, passages }: Pending): Promise<AppendResult> {
    this.#asked.add(chunk);
    try {
      return await this.#options.store.appendRecords(chunk.lease, records, passages);
    } finally {
      this.#asked.delete(chunk);
      this.#flush(chunk);
    }
  }

  /** One by one; a record that cannot be stored by itself ends its line as one that can. */
  async #writeApart(chunk: LeasedChunk, { records, passages }: Pending): Promise<void> {
    const [first] = records;
    if (records.length === 1 && first) {
      this.#options.log.error({ batch: chunk.lease.batchId, line: first.line }, 'a record cannot be stored');
      const substitute = unstorableRecord(first, chunk.lease.batchId);
      return this.#write(chunk, { records: [substitute], passages: new Map() });
    }
    for (const record of records) await this.#write(chunk, { records: [record], passages });
  }
}
