// The embedded store: one SQLite file, one process. Writes go to a thread of their own and are answered once
// they are on the disk; reads are short statements on a second connection.

import { join } from 'node:path';
import type { Batch, ValidationError } from '../domain/batch.ts';
import type { ClaimedChunk, Lease, NewChunk } from '../domain/chunk.ts';
import type { CollectionRecord } from '../domain/collection.ts';
import type { StoredFile } from '../domain/file.ts';
import type { KeptPassage, NewRecord } from '../domain/record.ts';
import type { Clock } from '../time.ts';
import { type DataDirLock, lockDataDir } from './data-dir-lock.ts';
import { SqliteReader } from './sqlite-reader.ts';
import { SqliteReads } from './sqlite-reads.ts';
import { openForReading } from './sqlite-schema.ts';
import { SqliteWriterClient } from './sqlite-writer-client.ts';
import type { AppendResult, NewBatch, NewFileBatch, RetryFilter, Store, UploadStart } from './store.ts';

/** How long a lease lasts without renewal, in milliseconds. */
const LEASE_MS = 20_000;

export class SqliteStore extends SqliteReads implements Store {
  readonly storeId: string;
  readonly #lock: DataDirLock;
  readonly #writer: SqliteWriterClient;
  readonly #reader: SqliteReader;
  readonly #watchers = new Map<string, Set<() => void>>();

  private constructor(parts: {
    lock: DataDirLock;
    writer: SqliteWriterClient;
    reader: SqliteReader;
    clock: Clock;
    path: string;
  }) {
    super(parts.reader, parts.path, parts.clock);
    this.#lock = parts.lock;
    this.#writer = parts.writer;
    this.#reader = parts.reader;
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
    return Promise.race([this.#writer.died, this.damaged]);
  }

  beginUpload(id: string, idempotencyKey: string | null): Promise<UploadStart> {
    return this.#writer.call('beginUpload', id, idempotencyKey, this.nowSeconds());
  }

  appendChunk(id: string, chunk: NewChunk): Promise<void> {
    return this.#writer.call('appendChunk', id, chunk);
  }

  async commitUpload(id: string, batch: NewBatch): Promise<Batch> {
    await this.#writer.call('commitUpload', id, batch, this.nowSeconds());
    const committed = this.read((it) => it.batch(id, this.nowSeconds()));
    if (!committed) throw new Error(`batch ${id} is gone right after its commit`);
    return committed;
  }

  abandonUpload(id: string): Promise<void> {
    return this.#writer.call('abandonUpload', id);
  }

  beginFile(id: string): Promise<void> {
    return this.#writer.call('beginFile', id, this.nowSeconds());
  }

  appendFilePiece(id: string, number: number, bytes: Buffer): Promise<void> {
    return this.#writer.call('appendFilePiece', id, number, bytes);
  }

  async commitFile(id: string, file: { filename: string; lifeSeconds: number | null }): Promise<StoredFile> {
    return this.#writer.call('commitFile', id, file, this.nowSeconds());
  }

  abandonFile(id: string): Promise<void> {
    return this.#writer.call('abandonFile', id);
  }

  deleteFile(id: string): Promise<'deleted' | 'in_use' | null> {
    return this.#writer.call('deleteFile', id, this.nowSeconds());
  }

  expireFiles(): Promise<void> {
    return this.#writer.call('expireFiles', this.nowSeconds());
  }

  async createFileBatch(id: string, batch: NewFileBatch): Promise<Batch> {
    await this.#writer.call('createFileBatch', id, batch, this.nowSeconds());
    const created = this.read((it) => it.batch(id, this.nowSeconds()));
    if (!created) throw new Error(`batch ${id} is gone right after it was made`);
    return created;
  }

  restartValidation(batchId: string): Promise<void> {
    return this.#writer.call('restartValidation', batchId);
  }

  passValidation(batchId: string, inputBytes: number): Promise<Batch | null> {
    return this.#changed(
      batchId,
      this.#writer.call('passValidation', batchId, inputBytes, this.nowSeconds()),
    );
  }

  failValidation(batchId: string, errors: readonly ValidationError[]): Promise<Batch | null> {
    return this.#changed(batchId, this.#writer.call('failValidation', batchId, errors, this.nowSeconds()));
  }

  // Leases never outlive the process, so they are timed by its monotonic clock: a wall clock that jumps ends none.
  async claimChunk(batchId: string): Promise<ClaimedChunk | null> {
    const claimed = await this.#writer.call('claimChunk', batchId, this.clock.monotonicMs(), LEASE_MS);
    // A Buffer arrives from another thread as a plain Uint8Array.
    return (
      claimed && {
        ...claimed,
        text: Buffer.from(claimed.text.buffer, claimed.text.byteOffset, claimed.text.byteLength),
      }
    );
  }

  renewLeases(leases: readonly Lease[]): Promise<Lease[]> {
    return this.#writer.call('renewLeases', leases, this.clock.monotonicMs(), LEASE_MS);
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
    const result = await this.#writer.call('appendRecords', lease, records, passages, this.nowSeconds());
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
    return this.#changed(batchId, this.#writer.call('requestCancel', batchId, this.nowSeconds()));
  }

  requestExpiry(batchId: string): Promise<Batch | null> {
    return this.#changed(batchId, this.#writer.call('requestExpiry', batchId, this.nowSeconds()));
  }

  retryBatch(batchId: string, filter: RetryFilter): Promise<Batch | null> {
    return this.#changed(batchId, this.#writer.call('retryBatch', batchId, filter, this.nowSeconds()));
  }

  async deleteBatch(batchId: string): Promise<'deleted' | 'not_finished' | null> {
    const result = await this.#writer.call('deleteBatch', batchId);
    this.#notify(batchId);
    return result;
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

  recordReady(
    token: number,
    built: Omit<CollectionRecord, 'generation' | 'readyAt'>,
  ): Promise<CollectionRecord> {
    return this.#writer.call('recordReady', token, built, this.nowSeconds());
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
    return this.read((it) => it.batch(batchId, this.nowSeconds()));
  }

  #notify(batchId: string): void {
    for (const onChange of [...(this.#watchers.get(batchId) ?? [])]) onChange();
  }
}
