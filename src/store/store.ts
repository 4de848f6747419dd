// The store is the queue and the only truth. Every method is one transaction: it has happened, durably, when
// its promise resolves, or it has not happened at all.

import type { Batch, ValidationError } from '../domain/batch.ts';
import type { BatchStatus } from '../domain/batch-status.ts';
import type { ClaimedChunk, Lease, NewChunk } from '../domain/chunk.ts';
import type { RankZero } from '../domain/collection.ts';
import type { FilePurpose, ResultFileKind, StoredFile } from '../domain/file.ts';
import type { OpenaiEndpoint } from '../domain/line.ts';
import type { BatchOptions } from '../domain/options.ts';
import type {
  KeptPassage,
  NewRecord,
  RecordDetails,
  RecordStatus,
  StoredRecord,
  StoredResponse,
} from '../domain/record.ts';

/** How an upload begins. Under a key that is taken it does not: `running`: by an upload; `known`: by a batch. */
export type UploadStart =
  | { readonly kind: 'begun' }
  | { readonly kind: 'running' }
  | { readonly kind: 'known'; readonly batchId: string; readonly requestHash: string };

export interface NewBatch {
  readonly options: BatchOptions;
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly inputBytes: number;
  /** Hash of body and options, kept with the idempotency key the upload began with. */
  readonly requestHash: string | null;
}

/** A batch to be made of an uploaded file. */
export interface NewFileBatch {
  readonly inputFileId: string;
  readonly endpoint: OpenaiEndpoint;
  readonly options: BatchOptions;
  readonly metadata: Readonly<Record<string, string>> | null;
  /** How long its output and error files are kept after its end, in seconds; null: as long as the batch. */
  readonly outputLifeSeconds: number | null;
}

export interface FilePage {
  /** null: all. */
  readonly purpose: FilePurpose | null;
  /** Id of the last file of the page before; null: the first page. */
  readonly after: string | null;
  readonly limit: number;
  /** By creation. */
  readonly order: 'asc' | 'desc';
}

export interface RecordPage {
  /** Records with a seq above this one. */
  readonly afterSeq: number;
  /** … and at most this one; the log's end without it. */
  readonly upToSeq?: number;
  readonly limit: number;
  /** true: only current records. */
  readonly currentOnly: boolean;
}

export interface InputOrderPage {
  /** Current records of lines above this one. */
  readonly afterLine: number;
  readonly limit: number;
  /** true: end before the first line that is open; false: pass over it. */
  readonly stopAtGap: boolean;
}

/** The batch's status after the write, or `stale`: the lease was lost, nothing was written. */
export type AppendResult = BatchStatus | 'stale';

export interface ActiveBatch {
  readonly id: string;
  /** Unix seconds. */
  readonly createdAt: number;
  readonly options: BatchOptions;
  /** How its open lines end without running; null: they run. */
  readonly ending: 'cancelled' | 'expired' | null;
}

/** Which lines a retry runs again: all conditions given must hold. */
export interface RetryFilter {
  /** Of the current record. */
  readonly statuses: readonly RecordStatus[];
  readonly code: string | null;
  readonly endpoint: string | null;
  readonly customIds: readonly string[] | null;
}

/** One line with everything that is kept about it. */
export interface LineHistory {
  /** The line as uploaded. */
  readonly input: Buffer;
  /** `null`: it has ended. */
  readonly open: 'queued' | 'leased' | null;
  readonly records: readonly (StoredRecord & {
    readonly run: number;
    readonly isCurrent: boolean;
    readonly details: RecordDetails | null;
  })[];
}

/** What a record came from. */
export interface RecordSource {
  readonly input: Buffer;
  /** In the order in which they stood in the prompt. */
  readonly passages: readonly KeptPassage[];
}

/** Lines of the upload, ascending. */
export interface InputLine {
  readonly line: number;
  readonly bytes: Buffer;
}

export interface Store extends RankZero {
  /** Opens an upload. Nobody but the uploader sees it before the commit. */
  beginUpload(id: string, idempotencyKey: string | null): Promise<UploadStart>;
  appendChunk(id: string, chunk: NewChunk): Promise<void>;
  /** Makes the upload a batch. Throws `empty_upload` when it has no line. */
  commitUpload(id: string, batch: NewBatch): Promise<Batch>;
  /** Removes an upload that broke off; unknown ids are no error. */
  abandonUpload(id: string): Promise<void>;
  /** Opens an upload of a file. Nobody sees it before the commit, and nothing is left of it when the process ends before. */
  beginFile(id: string): Promise<void>;
  /** Pieces are numbered from 0 and hold at most 1 MiB each. */
  appendFilePiece(id: string, number: number, bytes: Buffer): Promise<void>;
  commitFile(id: string, file: { filename: string; lifeSeconds: number | null }): Promise<StoredFile>;
  /** Removes a file whose upload broke off; unknown ids are no error. */
  abandonFile(id: string): Promise<void>;
  /** An uploaded file, or one that a batch's results are read as; null: there is none, or nothing stands in it yet. */
  getFile(id: string): Promise<StoredFile | null>;
  /** Throws `file_not_found` for an unknown `after`; after one that was deleted lately the page goes on. */
  listFiles(page: FilePage): Promise<{ files: StoredFile[]; hasMore: boolean }>;
  /**
   * A piece of an uploaded file; null: it has no such piece. While a batch is being made of the file it is read on
   * after its time, too.
   */
  readFilePiece(id: string, number: number): Promise<Buffer | null>;
  /**
   * Gone at once for everybody. `in_use`: a batch is being made of it, or is still adding to it. Deleting the results of
   * a batch as a file leaves the batch as it is.
   */
  deleteFile(id: string): Promise<'deleted' | 'in_use' | null>;
  /** Removes the files whose time is over by now, but for those that a batch is being made of. */
  expireFiles(): Promise<void>;

  /** A batch that is `validating`; its window runs from now on. Throws `file_not_found`. */
  createFileBatch(id: string, batch: NewFileBatch): Promise<Batch>;
  /** Ids of the batches that are `validating`, oldest first. */
  validatingBatches(): Promise<string[]>;
  /**
   * Drops the chunks of a validating batch: its check begins anew. Chunks are added as to an upload; both throw
   * `upload_incomplete` when the batch is no longer validating.
   */
  restartValidation(batchId: string): Promise<void>;
  /**
   * Lets a validating batch run; in any other status it is left as it is. `inputBytes`: of the file. Throws
   * `empty_upload` when it has no line.
   */
  passValidation(batchId: string, inputBytes: number): Promise<Batch | null>;
  /** Ends a validating batch as `failed`, and drops its chunks; in any other status it is left as it is. */
  failValidation(batchId: string, errors: readonly ValidationError[]): Promise<Batch | null>;

  /** Bytes of the database that hold something. */
  storedBytes(): Promise<number>;

  getBatch(id: string): Promise<Batch | null>;
  /** Whether a batch of this id was deleted lately. */
  wasDeleted(id: string): Promise<boolean>;
  /** Newest first. Throws `batch_not_found` for an unknown `after`. */
  listBatches(page: { after: string | null; limit: number }): Promise<{ batches: Batch[]; hasMore: boolean }>;
  /** Batches with lines to claim, oldest first. */
  activeBatches(): Promise<ActiveBatch[]>;
  /** Ids of batches that are to run lines now or after a resume, oldest first. */
  unfinishedBatches(): Promise<string[]>;
  /** Batches with a deadline that have not ended, with it in Unix seconds. */
  expiringBatches(): Promise<{ id: string; expiresAt: number }[]>;
  /** Some of the batches that ended before this time in Unix seconds. */
  endedBatches(before: number): Promise<string[]>;

  /** Leases the batch's first chunk that is open and unleased (or whose lease ran out); null: none. */
  claimChunk(batchId: string): Promise<ClaimedChunk | null>;
  /**
   * Prolongs the leases; answers those that were lost meanwhile. Leases that are held and were not named are no
   * longer renewed while the caller is busy.
   */
  renewLeases(leases: readonly Lease[]): Promise<Lease[]>;
  /** Gives a chunk back; its started lines lose their marks. A lease that was lost is no error. */
  releaseChunk(lease: Lease): Promise<void>;
  /** Marks lines as started: after it, a death of the process counts. false: the lease was lost. */
  markStarted(lease: Lease, lines: readonly number[]): Promise<boolean>;
  /**
   * Appends the records of lines of one chunk under the next seqs, with the texts of passages that the batch may not
   * have yet, by hash. A line that has its record of this run already keeps it. May end the batch, or pause it.
   */
  appendRecords(
    lease: Lease,
    records: readonly NewRecord[],
    passages: ReadonlyMap<string, KeptPassage>,
  ): Promise<AppendResult>;

  /**
   * Changes of status. Where the change is not legal the batch is left as it is, and answered so; null: no such batch.
   * Cancel and expiry void every lease of the batch; pause voids none.
   */
  pauseBatch(batchId: string): Promise<Batch | null>;
  resumeBatch(batchId: string): Promise<Batch | null>;
  requestCancel(batchId: string): Promise<Batch | null>;
  requestExpiry(batchId: string): Promise<Batch | null>;
  /** Begins a new run of the lines that match and whose input is good; without any the batch stays as it is. */
  retryBatch(batchId: string, filter: RetryFilter): Promise<Batch | null>;
  /** Gone at once for everybody; the disk is given back bit by bit. */
  deleteBatch(batchId: string): Promise<'deleted' | 'not_finished' | null>;

  /** The result log by seq, ascending. A page ends early when it has grown large. */
  readRecords(batchId: string, page: RecordPage): Promise<StoredRecord[]>;
  /** The current records by line number, ascending. */
  readRecordsInInputOrder(batchId: string, page: InputOrderPage): Promise<StoredRecord[]>;
  /** Current records that belong in this file of the batch, by seq, ascending. A page ends early when it has grown large. */
  readResponses(
    batchId: string,
    page: { kind: ResultFileKind; afterSeq: number; limit: number },
  ): Promise<StoredResponse[]>;
  /** Where the whole log ends, or ended at this seq: its last seq, and its bytes with a newline after each record. */
  logEnd(batchId: string, upToSeq?: number): Promise<{ lastSeq: number; bytes: number }>;
  /** The record that holds this byte of the log (0-based), and where it starts. The log must be longer. */
  seekLog(batchId: string, offset: number): Promise<{ seq: number; startOffset: number }>;
  /** A page of the upload, a chunk at most: lines above this one; with `status`, those with such a current record. */
  readInput(
    batchId: string,
    page: { afterLine: number; status: 'succeeded' | 'failed' | null },
  ): Promise<{ lines: InputLine[]; lastLine: number } | null>;
  /** What these records came from, by seq. */
  readSources(
    batchId: string,
    records: readonly { readonly seq: number; readonly line: number }[],
  ): Promise<ReadonlyMap<number, RecordSource>>;
  /** null: the batch has no such line. */
  lineHistory(batchId: string, line: number): Promise<LineHistory | null>;
  /** Passages of the batch by hash; unknown hashes are missing. */
  readPassages(batchId: string, hashes: readonly string[]): Promise<ReadonlyMap<string, KeptPassage>>;

  /** Calls back after every change of the batch's log or status, until the returned function is called. */
  watch(batchId: string, onChange: () => void): () => void;

  close(): Promise<void>;
}
