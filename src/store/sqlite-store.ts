// The embedded store: one SQLite file, one process. Writes go to a thread of their own and are answered once
// they are on the disk; reads are short statements on a second connection.

import { join } from 'node:path';
import type { Batch } from '../domain/batch.ts';
import type { ClaimedChunk, Lease, NewChunk } from '../domain/chunk.ts';
import type { CollectionRecord } from '../domain/collection.ts';
import type { NewRecord, StoredRecord } from '../domain/record.ts';
import { type Clock, unixSeconds } from '../time.ts';
import { type DataDirLock, lockDataDir } from './data-dir-lock.ts';
import { SqliteReader } from './sqlite-reader.ts';
import { openForReading } from './sqlite-schema.ts';
import { SqliteWriterClient } from './sqlite-writer-client.ts';
import type { ActiveBatch, AppendResult, InputOrderPage, NewBatch, RecordPage, Store } from './store.ts';

/** How long a lease lasts without renewal, in milliseconds. */
const LEASE_MS = 20_000;

export class SqliteStore implements Store {
  readonly storeId: string;
  readonly #lock: DataDirLock;
  readonly #writer: SqliteWriterClient;
  readonly #reader: SqliteReader;
  readonly #clock: Clock;
  readonly #watchers = new Map<string, Set<() => void>>();

  private constructor(parts: {
    lock: DataDirLock;
    writer: SqliteWriterClient;
    reader: SqliteReader;
    clock: Clock;
  }) {
    this.#lock = parts.lock;
    this.#writer = parts.writer;
    this.#reader = parts.reader;
    this.#clock = parts.clock;
    this.storeId = parts.reader.storeId();
  }

  /** Throws `data_dir_locked`, `data_dir_unusable` or `schema_newer`; then nothing stays open. */
  static async open(options: { dataDir: string; clock: Clock }): Promise<SqliteStore> {
    await using opened = new AsyncDisposableStack();
    const lock = opened.adopt(lockDataDir(options.dataDir), (it) => it.release());
    const path = join(options.dataDir, 'ragmill.sqlite');
    const writer = opened.adopt(await SqliteWriterClient.open(path), (it) => it.close());
    const reader = new SqliteReader(openForReading(path));
    opened.move();
    return new SqliteStore({ lock, writer, reader, clock: options.clock });
  }

  /** Resolves when nothing can be stored any more, though nobody closed the store. */
  get died(): Promise<Error> {
    return this.#writer.died;
  }

  beginUpload(id: string): Promise<void> {
    return this.#writer.call('beginUpload', id, this.#nowSeconds());
  }

  appendChunk(id: string, chunk: NewChunk): Promise<void> {
    return this.#writer.call('appendChunk', id, chunk);
  }

  async commitUpload(id: string, batch: NewBatch): Promise<Batch> {
    await this.#writer.call('commitUpload', id, batch, this.#nowSeconds());
    const committed = this.#reader.batch(id);
    if (!committed) throw new Error(`batch ${id} is gone right after its commit`);
    return committed;
  }

  abandonUpload(id: string): Promise<void> {
    return this.#writer.call('abandonUpload', id);
  }

  async getBatch(id: string): Promise<Batch | null> {
    return this.#reader.batch(id);
  }

  async listBatches(page: {
    after: string | null;
    limit: number;
  }): Promise<{ batches: Batch[]; hasMore: boolean }> {
    return this.#reader.batches(page.after, page.limit);
  }

  async activeBatches(): Promise<ActiveBatch[]> {
    return this.#reader.activeBatches();
  }

  async claimChunk(batchId: string): Promise<ClaimedChunk | null> {
    const claimed = await this.#writer.call('claimChunk', batchId, this.#clock.now(), LEASE_MS);
    // A Buffer arrives from another thread as a plain Uint8Array.
    return (
      claimed && {
        ...claimed,
        text: Buffer.from(claimed.text.buffer, claimed.text.byteOffset, claimed.text.byteLength),
      }
    );
  }

  renewLeases(leases: readonly Lease[]): Promise<Lease[]> {
    return this.#writer.call('renewLeases', leases, this.#clock.now(), LEASE_MS);
  }

  releaseChunk(lease: Lease): Promise<void> {
    return this.#writer.call('releaseChunk', lease);
  }

  async appendRecords(lease: Lease, records: readonly NewRecord[]): Promise<AppendResult> {
    const result = await this.#writer.call('appendRecords', lease, records, this.#nowSeconds());
    if (result !== 'stale') this.#notify(lease.batchId);
    return result;
  }

  async requestCancel(batchId: string): Promise<Batch | null> {
    await this.#writer.call('requestCancel', batchId, this.#nowSeconds());
    this.#notify(batchId);
    return this.#reader.batch(batchId);
  }

  async readRecords(batchId: string, page: RecordPage): Promise<StoredRecord[]> {
    return this.#reader.records(batchId, page);
  }

  async readRecordsInInputOrder(batchId: string, page: InputOrderPage): Promise<StoredRecord[]> {
    return this.#reader.recordsInInputOrder(batchId, page);
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
    return this.#reader.currentCollection();
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

  #nowSeconds(): number {
    return unixSeconds(this.#clock);
  }

  #notify(batchId: string): void {
    for (const onChange of [...(this.#watchers.get(batchId) ?? [])]) onChange();
  }
}
