// A batch: one upload and the work on it.

import type { BatchStatus } from './batch-status.ts';
import type { OpenaiEndpoint } from './line.ts';
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
  /** Tokens of reasoning, as far as servers report them. */
  readonly reasoningTokens: number;
}

/** Why a batch stands still, for programs and for people. */
export interface PauseReason {
  readonly code: 'requested' | 'pause_after' | 'max_failures';
  readonly message: string;
}

/** Why a batch from a file could not begin. `line`: 1-based; null: it is about no line. */
export interface ValidationError {
  readonly code: string;
  readonly message: string;
  readonly param: string | null;
  readonly line: number | null;
}

export interface Batch {
  readonly id: string;
  readonly status: BatchStatus;
  readonly options: BatchOptions;
  readonly metadata: Readonly<Record<string, string>> | null;
  /** What all its lines ask for; uploads of ragmill's own kind are chat completions. */
  readonly endpoint: OpenaiEndpoint;
  /** The file that it was made from; null: it was uploaded as it is. */
  readonly inputFileId: string | null;
  /** Why it has failed; null: it has not. */
  readonly errors: readonly ValidationError[] | null;
  /** Size of what its lines that succeeded are read as, in bytes; null: that file was deleted or expired, or never was. */
  readonly outputBytes: number | null;
  /** The same for all others that have ended. */
  readonly errorBytes: number | null;
  /** Unix seconds at which those files go; null: with the batch. */
  readonly resultFilesExpireAt: number | null;
  /** Unix seconds; null until it happens. */
  readonly createdAt: number;
  readonly inProgressAt: number | null;
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
