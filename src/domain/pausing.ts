// When a batch pauses by itself: after a first look at its results was asked for, and when too much of it fails.

import type { PauseReason } from './batch.ts';

/** The default rule of `max_failures`: so many finished lines at least, and half of them failed. */
const FINISHED_MIN = 200;
const FAILED_SHARE = 0.5;

export interface Pacing {
  /** Pause when so many lines have run; null: no such stop. */
  readonly pauseAt: number | null;
  /** Lines that have run to a record, over all runs. */
  readonly ranLines: number;
  /** null: the default rule; 0: off; else pause at so many failures. */
  readonly maxFailures: number | null;
  /** Lines that ran, and that failed in rag or generation, since creation or the last resume or retry. */
  readonly watchedFinished: number;
  readonly watchedFailed: number;
}

/** A line that failed, to show what goes wrong. */
export interface FailureExample {
  readonly line: number;
  readonly code: string;
  readonly message: string;
}

export function reasonToPause(pacing: Pacing, example: FailureExample | null): PauseReason | null {
  if (example !== null && hasFailedTooOften(pacing)) {
    const { watchedFailed, watchedFinished } = pacing;
    const failure = `line ${example.line}: ${example.code}, ${example.message}`;
    const message = `${watchedFailed} of ${watchedFinished} lines failed, for example ${failure} Mend the cause, then resume or cancel.`;
    return { code: 'max_failures', message };
  }
  if (pacing.pauseAt !== null && pacing.ranLines >= pacing.pauseAt) {
    const message = `${pacing.ranLines} lines have run, as pause_after asked. Look at the results, then resume or cancel.`;
    return { code: 'pause_after', message };
  }
  return null;
}

function hasFailedTooOften({ maxFailures, watchedFinished, watchedFailed }: Pacing): boolean {
  if (maxFailures === 0) return false;
  if (maxFailures !== null) return watchedFailed >= maxFailures;
  return watchedFinished >= FINISHED_MIN && watchedFailed >= watchedFinished * FAILED_SHARE;
}
