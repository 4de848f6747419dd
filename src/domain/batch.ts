// A batch: one upload and the work on it.

import type { BatchOptions } from './options.ts';

export type BatchStatus = 'in_progress' | 'cancelling' | 'completed' | 'cancelled';

/** The statuses a batch never leaves by itself: its last record is written. */
export function isTerminal(status: BatchStatus): boolean {
  return status === 'completed' || status === 'cancelled';
}

/** Where the lines of a batch stand. The sum is the batch's total at every moment. */
interface LineCounts {
  readonly queued: number;
  readonly leased: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
}

interface RagCounts {
  readonly success: number;
  readonly softFailure: number;
  readonly hardFailure: number;
}

interface UsageTotals {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Tokens served from prefix caches, as far as servers report them. */
  readonly cachedTokens: number;
}

export interface Batch {
  readonly id: string;
  readonly status: BatchStatus;
  readonly options: BatchOptions;
  readonly metadata: Readonly<Record<string, string>> | null;
  /** Unix seconds; null until it happens. */
  readonly createdAt: number;
  readonly cancellingAt: number | null;
  /** Unix seconds at which the status became terminal. */
  readonly endedAt: number | null;
  /** Lines of the upload, bad ones included. */
  readonly total: number;
  /** Raw bytes of the upload. */
  readonly inputBytes: number;
  readonly lineCounts: LineCounts;
  readonly ragCounts: RagCounts;
  readonly usage: UsageTotals;
  /** seq of the newest record; 0 before the first. */
  readonly lastSeq: number;
  /** Builds of the collection that answers were made with, ascending. */
  readonly collectionGenerations: readonly number[];
}
