// What the routes need of the rest of the program.

import type { BootstrapState } from '../chroma/bootstrap.ts';
import type { CorpusSummary } from '../chroma/corpus-report.ts';
import type { LiveCollection } from '../chroma/live-collection.ts';
import type { BatchOptions } from '../domain/options.ts';
import type { GpuPool } from '../gpu-pool/gpu-pool.ts';
import type { Metrics } from '../metrics.ts';
import type { FileCheck } from '../scheduler/file-check.ts';
import type { UploadLimits } from '../scheduler/line-intake.ts';
import type { Scheduler } from '../scheduler/scheduler.ts';
import type { EstimateBasis } from '../scheduler/upload-estimate.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../time.ts';
import type { UploadAdmission } from './upload-admission.ts';

export interface Readiness {
  readonly isReady: boolean;
  /** Why not, in words a person can act on; empty when ready. */
  readonly reasons: readonly string[];
  /** What works less well than it should although the service is ready. */
  readonly degraded: readonly string[];
  /** Build of the collection in use; null before the first READY. */
  readonly collectionGeneration: number | null;
}

/** The collection, before and after it is READY. */
export interface CollectionFace {
  readonly name: string;
  /** null before the first READY. */
  readonly live: LiveCollection | null;
  /** null before it has begun. */
  readonly bootstrapState: BootstrapState | null;
  /** null: there is none, or not yet. */
  readonly corpus: { readonly report: CorpusSummary | null } | null;
  /** What questions wait for; null: nothing is in their way. */
  readonly waitingFor: string | null;
}

export interface Services {
  readonly collection: CollectionFace;
  readonly store: Store;
  readonly scheduler: Scheduler;
  readonly pool: GpuPool;
  readonly metrics: Metrics;
  readonly readiness: () => Readiness;
  /** What the lines of a batch with these options wait for; null when nothing is in their way. */
  readonly waitingFor: (options: BatchOptions) => string | null;
  readonly defaultOptions: BatchOptions;
  /** The system prompt of batches that name none. */
  readonly defaultSystemPrompt: string;
  readonly fileCheck: Pick<FileCheck, 'nudge'>;
  /** How long uploaded files are kept that bring no time of their own, in seconds; null: until they are deleted. */
  readonly fileLifeSeconds: number | null;
  readonly uploadLimits: UploadLimits;
  readonly uploadAdmission: UploadAdmission;
  /** Throws `storage_limit` or `storage_full` when an upload may not take more. */
  readonly checkUploadRoom: () => Promise<void>;
  /** What a dry run goes by. */
  readonly estimateBasis: () => EstimateBasis;
  readonly clock: Clock;
  /** Unix seconds. */
  readonly startedAt: number;
  /** Brings the gauges up to date. */
  readonly beforeScrape: () => Promise<void>;
  /** Aborted when the service begins to stop: it is not ready any more, and uploads are refused. */
  readonly draining: AbortSignal;
  /** Aborted when running work has had its grace: streams end, broken off. */
  readonly closing: AbortSignal;
}
