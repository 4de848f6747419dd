// A batch: one upload and the work on it.

import type { BatchStatus } from './batch-status.ts';
import type { BatchOptions } from './options.ts';

/** Where the lines of a batch stand, by their current records. The sum is the batch's total at every moment. */
export interface LineCounts {
  readonly queued: number;
  readonly leased: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly expired: number;
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

/** Why a batch stands still, for programs and for people. */
export interface PauseReason {
  readonly code: 'requested' | 'pause_after' | 'max_failures';
  readonly message: string;
}

export interface Batch {
  readonly id: string;
  readonly status: BatchStatus;
  readonly options: BatchOptions;
  readonly metadata: Readonly<Record<string, string>> | null;
  /** Unix seconds; null until it happens. */
  readonly createdAt: number;
  readonly cancellingAt: number | null;
  readonly finalizingAt: number | null;
  /** Unix seconds at which the status became terminal. */
  readonly endedAt: number | null;
  /** Unix seconds at which the open lines expire; null: never. */
  readonly expiresAt: number | null;
  /** null unless the status is `paused`. */
  readonly pauseReason: PauseReason | null;
  /** 1 for the first way through the lines; each retry begins the next. */
  readonly run: number;
  /** Lines of the upload, bad ones included. */
  readonly total: number;
  /** Raw bytes of the upload. */
  readonly inputBytes: number;
  readonly lineCounts: LineCounts;
  readonly ragCounts: RagCounts;
  /** What all records cost, those that were replaced included. */
  readonly usage: UsageTotals;
  /** seq of the newest record; 0 before the first. */
  readonly lastSeq: number;
  /** Builds of the collection that answers were made with, ascending. */
  readonly collectionGenerations: readonly number[];
}
