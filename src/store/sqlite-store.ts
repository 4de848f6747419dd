// The embedded store: one SQLite file, one process. Writes go to a thread of their own and are answered once
// they are on the disk; reads are short statements on a second connection.

import { join } from 'node:path';
import type { Batch } from '../domain/batch.ts';
import type { ClaimedChunk, Lease, NewChunk } from '../domain/chunk.ts';
import type { CollectionRecord } from '../domain/collection.ts';
import type { KeptPassage, NewRecord, StoredRecord } from '../domain/record.ts';
import { RagmillError } from '../errors.ts';
import { type Clock, unixSeconds } from '../time.ts';
import { type DataDirLock, lockDataDir } from './data-dir-lock.ts';
import { toStoreFailure } from './sqlite-failures.ts';
import { SqliteReader } from './sqlite-reader.ts';
import { openForReading } from './sqlite-schema.ts';
import { SqliteWriterClient } from './sqlite-writer-client.ts';
import type {
  ActiveBatch,
  AppendResult,
  InputLine,
  InputOrderPage,
  LineHistory,
  NewBatch,
  RecordPage,
  RecordSource,
  RetryFilter,
  Store,
  UploadStart,
} from './store.ts';

/** How long a lease lasts without renewal, in milliseconds. */
const LEASE_MS = 20_000;

export class SqliteStore implements Store {
  readonly storeId: string;
  readonly #lock: DataDirLock;
  readonly #writer: SqliteWriterClient;
  readonly #reader: SqliteReader;
  readonly #clock: Clock;
  readonly #path: string;
  readonly #damaged = Promise.withResolvers<Error>();
  readonly #watchers = new Map<string, Set<() => void>>();

  private constructor(parts: {
    lock: DataDirLock;
    writer: SqliteWriterClient;
    reader: SqliteReader;
    clock: Clock;
    path: string;
  }) {
    this.#lock = parts.lock;
    this.#writer = parts.writer;
    this.#reader = parts.reader;
    this.#clock = parts.clock;
    this.#path = parts.path;
    this.storeId = parts.reader.storeId();
  }

  /** Throws `data_dir_locked`, `data_dir_unusable`, `schema_newer`, `store_corrupt` …; then nothing stays open. */
  static async open(options: { dataDir: string; clock: Clock }): Promise<SqliteStore> {
    await using opened = new AsyncDisposableStack();
    const lock = opened.adopt(lockDataDir(options.dataDir), (it) => it.release());
    const path = join(options.dataDir, 'ragmill.sqlite');
    const writer = opened.adopt(await SqliteWriterClient.open(path), (it) => it.close());
    const reader = new SqliteReader(openForReading(path));
    opened.move();
    return new SqliteStore({ lock, writer, reader, clock: options.clock, path });
  }

  /** Resolves when nothing can be stored any more, though nobody closed the store. */
  get died(): Promise<Error> {
    return Promise.race([this.#writer.died, this.#damaged.promise]);
  }

  beginUpload(id: string, idempotencyKey: string | null): Promise<UploadStart> {
    return this.#writer.call('beginUpload', id, idempotencyKey, this.#nowSeconds());
  }

  appendChunk(id: string, chunk: NewChunk): Promise<void> {
    return this.#writer.call('appendChunk', id, chunk);
  }

  async commitUpload(id: string, batch: NewBatch): Promise<Batch> {
    await this.#writer.call('commitUpload', id, batch, this.#nowSeconds());
    const committed = this.#read((it) => it.batch(id));
    if (!committed) throw new Error(`batch ${id} is gone right after its commit`);
    return committed;
  }

  abandonUpload(id: string): Promise<void> {
    return this.#writer.call('abandonUpload', id);
  }

  async storedBytes(): Promise<number> {
    return this.#read((it) => it.storedBytes());
  }

  async getBatch(id: string): Promise<Batch | null> {
    return this.#read((it) => it.batch(id));
  }

  async wasDeleted(id: string): Promise<boolean> {
    return this.#read((it) => it.wasDeleted(id));
  }

  async listBatches(page: {
    after: string | null;
    limit: number;
  }): Promise<{ batches: Batch[]; hasMore: boolean }> {
    return this.#read((it) => it.batches(page.after, page.limit));
  }

  async unfinishedBatches(): Promise<string[]> {
    return this.#read((it) => it.unfinishedBatches());
  }

  async activeBatches(): Promise<ActiveBatch[]> {
    return this.#read((it) => it.activeBatches());
  }

  async expiringBatches(): Promise<{ id: string; expiresAt: number }[]> {
    return this.#read((it) => it.expiringBatches());
  }

  async endedBatches(before: number): Promise<string[]> {
    return this.#read((it) => it.endedBatches(before));
  }

  // Leases never outlive the process, so they are timed by its monotonic clock: a wall clock that jumps ends none.
  async claimChunk(batchId: string): Promise<ClaimedChunk | null> {
    const claimed = await this.#writer.call('claimChunk', batchId, this.#clock.monotonicMs(), LEASE_MS);
    // A Buffer arrives from another thread as a plain Uint8Array.
    return (
      claimed && {
        ...claimed,
        text: Buffer.from(claimed.text.buffer, claimed.text.byteOffset, claimed.text.byteLength),
      }
    );
  }

  renewLeases(leases: readonly Lease[]): Promise<Lease[]> {
    return this.#writer.call('renewLeases', leases, this.#clock.monotonicMs(), LEASE_MS);
  }

  releaseChunk(lease: Lease): Promise<void> {
    return this.#writer.call('releaseChunk', lease);
  }

  markStarted(lease: Lease, lines: readonly number[]): Promise<boolean> {
    return this.#writer.call('markStarted', lease, lines);
  }

  async appendRecords(
    lease: Lease,
    records: readonly NewRecord[],
    passages: ReadonlyMap<string, KeptPassage>,
  ): Promise<AppendResult> {
    const result = await this.#writer.call('appendRecords', lease, records, passages, this.#nowSeconds());
    if (result !== 'stale') this.#notify(lease.batchId);
    return result;
  }

  pauseBatch(batchId: string): Promise<Batch | null> {
    return this.#changed(batchId, this.#writer.call('pauseBatch', batchId));
  }

  resumeBatch(batchId: string): Promise<Batch | null> {
    return this.#changed(batchId, this.#writer.call('resumeBatch', batchId));
  }

  requestCancel(batchId: string): Promise<Batch | null> {
    return this.#changed(batchId, this.#writer.call('requestCancel', batchId, this.#nowSeconds()));
  }

  requestExpiry(batchId: string): Promise<Batch | null> {
    return this.#changed(batchId, this.#writer.call('requestExpiry', batchId, this.#nowSeconds()));
  }

  retryBatch(batchId: string, filter: RetryFilter): Promise<Batch | null> {
    return this.#changed(batchId, this.#writer.call('retryBatch', batchId, filter, this.#nowSeconds()));
  }

  async deleteBatch(batchId: string): Promise<'deleted' | 'not_finished' | null> {
    const result = await this.#writer.call('deleteBatch', batchId);
    this.#notify(batchId);
    return result;
  }

  async readRecords(batchId: string, page: RecordPage): Promise<StoredRecord[]> {
    return this.#read((it) => it.log.bySeq(batchId, page));
  }

  async readRecordsInInputOrder(batchId: string, page: InputOrderPage): Promise<StoredRecord[]> {
    return this.#read((it) => it.log.inInputOrder(batchId, page));
  }

  async logEnd(batchId: string, upToSeq?: number): Promise<{ lastSeq: number; bytes: number }> {
    return this.#read((it) => it.log.end(batchId, upToSeq));
  }

  async seekLog(batchId: string, offset: number): Promise<{ seq: number; startOffset: number }> {
    return this.#read((it) => it.log.seek(batchId, offset));
  }

  async readInput(
    batchId: string,
    page: { afterLine: number; status: 'succeeded' | 'failed' | null },
  ): Promise<{ lines: InputLine[]; lastLine: number } | null> {
    return this.#read((it) => it.lines.input(batchId, page));
  }

  async readSources(
    batchId: string,
    records: readonly { readonly seq: number; readonly line: number }[],
  ): Promise<ReadonlyMap<number, RecordSource>> {
    return this.#read((it) => it.lines.sources(batchId, records));
  }

  async lineHistory(batchId: string, line: number): Promise<LineHistory | null> {
    return this.#read((it) => it.lines.history(batchId, line));
  }

  async readPassages(batchId: string, hashes: readonly string[]): Promise<ReadonlyMap<string, KeptPassage>> {
    return this.#read((it) => it.lines.passages(batchId, hashes));
  }

  watch(batchId: string, onChange: () => void): () => void {
    const watchers = this.#watchers.get(batchId) ?? new Set();
    this.#watchers.set(batchId, watchers.add(onChange));
    return () => {
      watchers.delete(onChange);
      if (watchers.size === 0 && this.#watchers.get(batchId) === watchers) this.#watchers.delete(batchId);
    };
  }

  /** Always this process: the lock on the data folder keeps every other one out. */
  acquireRankZero(): Promise<number> {
    return this.#writer.call('acquireRankZero');
  }

  async currentCollection(): Promise<CollectionRecord | null> {
    return this.#read((it) => it.currentCollection());
  }

  recordReady(
    token: number,
    built: Omit<CollectionRecord, 'generation' | 'readyAt'>,
  ): Promise<CollectionRecord> {
    return this.#writer.call('recordReady', token, built, this.#nowSeconds());
  }

  async close(): Promise<void> {
    await this.#writer.close();
    this.#reader.close();
    this.#lock.release();
  }

  /** The batch as it is after a change of its status. */
  async #changed(batchId: string, change: Promise<void>): Promise<Batch | null> {
    await change;
    this.#notify(batchId);
    return this.#read((it) => it.batch(batchId));
  }

  #read<T>(read: (reader: SqliteReader) => T): T {
    try {
      return read(this.#reader);
    } catch (error) {
      const { code, message } = toStoreFailure(error, this.#path);
      if (error instanceof RagmillError || code === 'internal_error') throw error;
      const known = new RagmillError(code, message, { cause: error });
      // What such a database would serve cannot be trusted, and nothing may be added to it.
      if (code === 'store_corrupt') this.#damaged.resolve(known);
      throw known;
    }
  }

  #nowSeconds(): number {
    return unixSeconds(this.#clock);
  }

  #notify(batchId: string): void {
    for (const onChange of [...(this.#watchers.get(batchId) ?? [])]) onChange();
  }
}
