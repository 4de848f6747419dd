// The store is the queue and the only truth. Every method is one transaction: it has happened, durably, when
// its promise resolves, or it has not happened at all.

import type { Batch } from '../domain/batch.ts';
import type { ClaimedChunk, Lease, NewChunk } from '../domain/chunk.ts';
import type { RankZero } from '../domain/collection.ts';
import type { BatchOptions } from '../domain/options.ts';
import type { NewRecord, StoredRecord } from '../domain/record.ts';

export interface NewBatch {
  readonly options: BatchOptions;
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly inputBytes: number;
}

export interface RecordPage {
  /** Records with a seq above this one. */
  readonly afterSeq: number;
  readonly limit: number;
}

export interface InputOrderPage {
  /** Records of lines above this one. */
  readonly afterLine: number;
  readonly limit: number;
  /** true: end before the first line that has no record yet; false: pass over it. */
  readonly stopAtGap: boolean;
}

export type AppendResult = 'stored' | 'batch_ended' | 'stale';

export interface ActiveBatch {
  readonly id: string;
  readonly isCancelling: boolean;
  readonly options: BatchOptions;
}

export interface Store extends RankZero {
  /** Opens an upload. Nobody but the uploader sees it before the commit. */
  beginUpload(id: string): Promise<void>;
  appendChunk(id: string, chunk: NewChunk): Promise<void>;
  /** Makes the upload a batch. Throws `empty_upload` when it has no line. */
  commitUpload(id: string, batch: NewBatch): Promise<Batch>;
  /** Removes an upload that broke off; unknown ids are no error. */
  abandonUpload(id: string): Promise<void>;

  getBatch(id: string): Promise<Batch | null>;
  /** Newest first. Throws `batch_not_found` for an unknown `after`. */
  listBatches(page: { after: string | null; limit: number }): Promise<{ batches: Batch[]; hasMore: boolean }>;
  /** Batches with open lines, oldest first. */
  activeBatches(): Promise<ActiveBatch[]>;

  /** Leases the batch's first chunk that is open and unleased (or whose lease ran out); null: none. */
  claimChunk(batchId: string): Promise<ClaimedChunk | null>;
  /** Prolongs the leases; answers those that were lost meanwhile. */
  renewLeases(leases: readonly Lease[]): Promise<Lease[]>;
  /** Gives a chunk back; a lease that was lost is no error. */
  releaseChunk(lease: Lease): Promise<void>;
  /**
   * Appends the records of lines of one chunk under the next seqs. A line that has its record already keeps it.
   * `batch_ended`: stored, and with them the batch's last line. `stale`: the lease was lost, nothing was written.
   */
  appendRecords(lease: Lease, records: readonly NewRecord[]): Promise<AppendResult>;
  /** in_progress → cancelling; voids every lease of the batch. A batch that has ended is left as it is. */
  requestCancel(batchId: string): Promise<Batch | null>;

  /** The result log by seq, ascending. */
  readRecords(batchId: string, page: RecordPage): Promise<StoredRecord[]>;
  /** The records by line number, ascending. */
  readRecordsInInputOrder(batchId: string, page: InputOrderPage): Promise<StoredRecord[]>;

  /** Calls back after every change of the batch's log or status, until the returned function is called. */
  watch(batchId: string, onChange: () => void): () => void;

  close(): Promise<void>;
}
