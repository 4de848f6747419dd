// What the oracle knows of one batch: what was uploaded, what was asked of it, and every byte that was ever published.

import type { MarkedLine } from './marked-lines.ts';

export type Request = 'pause' | 'resume' | 'cancel' | 'retry' | 'delete';
/** `gone`: deleted. */
export type Status =
  | 'in_progress'
  | 'paused'
  | 'finalizing'
  | 'cancelling'
  | 'completed'
  | 'cancelled'
  | 'expired'
  | 'gone';

/** How a batch was asked to behave, as far as it changes what may happen to it. */
export interface Behaviour {
  readonly pausesByItself: boolean;
  readonly expires: boolean;
}

export interface ParsedRecord {
  readonly seq: number;
  readonly replaces?: number;
  readonly line: number;
  readonly custom_id: string | null;
  readonly status: 'succeeded' | 'failed' | 'cancelled' | 'expired';
  readonly answer: string | null;
  readonly error: { readonly code: string; readonly stage: string } | null;
}

export class KnownBatch {
  readonly id: string;
  readonly lines: readonly MarkedLine[];
  readonly behaviour: Behaviour;
  /** The log's lines as first read, by seq - 1. */
  readonly published: string[] = [];
  /** The log's lengths at which the batch was seen finished: there a run ended, and the next one may begin. */
  readonly runEnds: Set<number>;
  /** A retry was asked for before the end of a run had been seen, and may have come after it. */
  hasUnseenRunEnd = false;
  status: Status = 'in_progress';
  /** Asked, and not known to have been done or not: the answer was lost. */
  readonly unanswered = new Set<Request>();

  constructor(id: string, lines: readonly MarkedLine[], behaviour: Behaviour) {
    this.id = id;
    this.lines = lines;
    this.runEnds = new Set([lines.length]);
    this.behaviour = behaviour;
  }

  get isFinished(): boolean {
    return isFinished(this.status);
  }

  /** The statuses that may be seen next, after the last one seen and what was asked since. */
  reachable(asked: Iterable<Request>): Set<Status> {
    const requests = new Set([...asked, ...this.unanswered]);
    const found = new Set<Status>([this.status]);
    // A set may be added to while it is walked.
    for (const status of found) for (const next of this.#next(status, requests)) found.add(next);
    return found;
  }

  #next(status: Status, requests: ReadonlySet<Request>): Status[] {
    const can = (request: Request, next: Status): Status[] => (requests.has(request) ? [next] : []);
    const { pausesByItself, expires } = this.behaviour;
    const expired: Status[] = expires ? ['finalizing'] : [];
    switch (status) {
      case 'in_progress':
        return [
          'completed',
          ...(pausesByItself ? (['paused'] as const) : []),
          ...expired,
          ...can('pause', 'paused'),
          ...can('cancel', 'cancelling'),
        ];
      case 'paused':
        // What had been started when it was paused still ends, and may have been the last.
        return ['completed', ...expired, ...can('resume', 'in_progress'), ...can('cancel', 'cancelling')];
      case 'finalizing':
        return ['expired'];
      case 'cancelling':
        return ['cancelled'];
      case 'completed':
      case 'cancelled':
      case 'expired':
        return [...can('retry', 'in_progress'), ...can('delete', 'gone')];
      case 'gone':
        return [];
    }
  }
}

export function isFinished(status: Status): boolean {
  return status === 'completed' || status === 'cancelled' || status === 'expired';
}
