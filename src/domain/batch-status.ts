// The statuses of a batch and every legal way between them; drawn in docs/state.md.

/**
 * - validating: the lines of a file are checked; nothing runs before all of them are.
 * - failed: the check has found something wrong. Only a validating batch fails.
 * - in_progress: lines are claimed and run.
 * - paused: started lines finish, nothing new starts.
 * - finalizing: the deadline has passed, open lines get their `expired` records.
 * - cancelling: open lines get their `cancelled` records.
 */
export type BatchStatus =
  | 'validating'
  | 'failed'
  | 'in_progress'
  | 'paused'
  | 'finalizing'
  | 'cancelling'
  | 'completed'
  | 'cancelled'
  | 'expired';

/** What can happen to a batch. `begin`, `fail`: its check has ended. `finish`: its last open line got its record. */
export type BatchEvent = 'begin' | 'fail' | 'pause' | 'resume' | 'cancel' | 'expire' | 'finish' | 'retry';

const TRANSITIONS: Readonly<Record<BatchStatus, Readonly<Partial<Record<BatchEvent, BatchStatus>>>>> = {
  validating: { begin: 'in_progress', fail: 'failed', cancel: 'cancelled' },
  failed: {},
  in_progress: { pause: 'paused', cancel: 'cancelling', expire: 'finalizing', finish: 'completed' },
  paused: { resume: 'in_progress', cancel: 'cancelling', expire: 'finalizing', finish: 'completed' },
  finalizing: { finish: 'expired' },
  cancelling: { finish: 'cancelled' },
  completed: { retry: 'in_progress' },
  cancelled: { retry: 'in_progress' },
  expired: { retry: 'in_progress' },
};

export const BATCH_STATUSES = Object.keys(TRANSITIONS) as readonly BatchStatus[];

/** The status that follows, or null where the event is not legal. */
export function nextStatus(status: BatchStatus, event: BatchEvent): BatchStatus | null {
  return TRANSITIONS[status][event] ?? null;
}

/** Statuses that only a retry leaves, if anything does: every line that was taken in has its record. */
export function isTerminal(status: BatchStatus): boolean {
  return status === 'failed' || nextStatus(status, 'retry') !== null;
}

/** How the open lines of a batch end without running; null: they run. */
export function endingOf(status: BatchStatus): 'cancelled' | 'expired' | null {
  if (status === 'cancelling') return 'cancelled';
  return status === 'finalizing' ? 'expired' : null;
}
