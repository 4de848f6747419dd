// What the embedded store answers without changing anything, on the main thread: short statements of one connection.

import type { Batch } from '../domain/batch.ts';
import type { CollectionRecord } from '../domain/collection.ts';
import type { ResultFileKind, StoredFile } from '../domain/file.ts';
import type { KeptPassage, StoredRecord, StoredResponse } from '../domain/record.ts';
import { RagmillError } from '../errors.ts';
import { type Clock, unixSeconds } from '../time.ts';
import { toStoreFailure } from './sqlite-failures.ts';
import type { SqliteReader } from './sqlite-reader.ts';
import type {
  ActiveBatch,
  FilePage,
  InputLine,
  InputOrderPage,
  LineHistory,
  RecordPage,
  RecordSource,
} from './store.ts';

export abstract class SqliteReads {
  protected readonly clock: Clock;
  readonly #reader: SqliteReader;
  readonly #path: string;
  readonly #damaged = Promise.withResolvers<Error>();

  constructor(reader: SqliteReader, path: string, clock: Clock) {
    this.#reader = reader;
    this.#path = path;
    this.clock = clock;
  }

  async storedBytes(): Promise<number> {
    return this.read((it) => it.storedBytes());
  }

  async getBatch(id: string): Promise<Batch | null> {
    return this.read((it) => it.batch(id, this.nowSeconds()));
  }

  async wasDeleted(id: string): Promise<boolean> {
    return this.read((it) => it.wasDeleted(id));
  }

  async listBatches(page: {
    after: string | null;
    limit: number;
  }): Promise<{ batches: Batch[]; hasMore: boolean }> {
    return this.read((it) => it.batches(page, this.nowSeconds()));
  }

  async validatingBatches(): Promise<string[]> {
    return this.read((it) => it.validatingBatches());
  }

  async unfinishedBatches(): Promise<string[]> {
    return this.read((it) => it.unfinishedBatches());
  }

  async activeBatches(): Promise<ActiveBatch[]> {
    return this.read((it) => it.activeBatches());
  }

  async expiringBatches(): Promise<{ id: string; expiresAt: number }[]> {
    return this.read((it) => it.expiringBatches());
  }

  async endedBatches(before: number): Promise<string[]> {
    return this.read((it) => it.endedBatches(before));
  }

  async readRecords(batchId: string, page: RecordPage): Promise<StoredRecord[]> {
    return this.read((it) => it.log.bySeq(batchId, page));
  }

  async readRecordsInInputOrder(batchId: string, page: InputOrderPage): Promise<StoredRecord[]> {
    return this.read((it) => it.log.inInputOrder(batchId, page));
  }

  async readResponses(
    batchId: string,
    page: { kind: ResultFileKind; afterSeq: number; limit: number },
  ): Promise<StoredResponse[]> {
    return this.read((it) => it.log.responses(batchId, page));
  }

  async logEnd(batchId: string, upToSeq?: number): Promise<{ lastSeq: number; bytes: number }> {
    return this.read((it) => it.log.end(batchId, upToSeq));
  }

  async seekLog(batchId: string, offset: number): Promise<{ seq: number; startOffset: number }> {
    return this.read((it) => it.log.seek(batchId, offset));
  }

  async readInput(
    batchId: string,
    page: { afterLine: number; status: 'succeeded' | 'failed' | null },
  ): Promise<{ lines: InputLine[]; lastLine: number } | null> {
    return this.read((it) => it.lines.input(batchId, page));
  }

  async readSources(
    batchId: string,
    records: readonly { readonly seq: number; readonly line: number }[],
  ): Promise<ReadonlyMap<number, RecordSource>> {
    return this.read((it) => it.lines.sources(batchId, records));
  }

  async lineHistory(batchId: string, line: number): Promise<LineHistory | null> {
    return this.read((it) => it.lines.history(batchId, line));
  }

  async readPassages(batchId: string, hashes: readonly string[]): Promise<ReadonlyMap<string, KeptPassage>> {
    return this.read((it) => it.lines.passages(batchId, hashes));
  }

  async currentCollection(): Promise<CollectionRecord | null> {
    return this.read((it) => it.currentCollection());
  }

  async getFile(id: string): Promise<StoredFile | null> {
    return this.read((it) => it.files.file(id, this.nowSeconds()));
  }

  async listFiles(page: FilePage): Promise<{ files: StoredFile[]; hasMore: boolean }> {
    return this.read((it) => it.files.files(page, this.nowSeconds()));
  }

  async readFilePiece(id: string, number: number): Promise<Buffer | null> {
    return this.read((it) => it.files.piece(id, number, this.nowSeconds()));
  }

  /** Resolves when a reader meets damage. */
  protected get damaged(): Promise<Error> {
    return this.#damaged.promise;
  }

  protected read<T>(read: (reader: SqliteReader) => T): T {
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

  protected nowSeconds(): number {
    return unixSeconds(this.clock);
  }
}
