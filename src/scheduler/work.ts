// What a process has in hand: leased chunks, and their lines on the way through the stages.

import type { Lease } from '../domain/chunk.ts';
import type { Passage, RetrievalOutcome } from '../domain/passage.ts';
import type { ParsedLine } from './line-parser.ts';

/** A leased chunk. Its lines are worked on until each has a record, or until the lease is gone. */
export interface LeasedChunk {
  readonly lease: Lease;
  /** Aborted when the lease is lost, the batch is cancelled or the service stops. */
  readonly controller: AbortController;
  /** Raw bytes of the chunk: what it costs to have it in hand. */
  readonly bytes: number;
  /** Lines that have no record yet. */
  openLines: number;
}

/** A line on its way. The stages fill in what they find out. */
export interface Work {
  readonly chunk: LeasedChunk;
  /** 1-based number in the upload. */
  readonly line: number;
  readonly parsed: ParsedLine;
  /** null: not run yet, or rag_mode=off. */
  retrieval: RetrievalOutcome | null;
  retrievalMs: number;
  /** Waiting for a model server, in all. */
  queuedMs: number;
  /** When the line last became ready for a model server. */
  readyAtMs: number;
  /** Generations that count as attempts of the line. */
  attempts: number;
  /** Generations that ended because of the endpoint, not because of the line, by failure class. */
  readonly innocentFailures: { hard: number; overload: number; misconfigured: number };
  /** Endpoints that failed it: the next attempt goes elsewhere if it can. */
  readonly avoid: Set<string>;
}

/** A line at the beginning of its way. */
export function beginWork(chunk: LeasedChunk, line: number, parsed: ParsedLine): Work {
  return {
    chunk,
    line,
    parsed,
    retrieval: null,
    retrievalMs: 0,
    queuedMs: 0,
    readyAtMs: 0,
    attempts: 0,
    innocentFailures: { hard: 0, overload: 0, misconfigured: 0 },
    avoid: new Set(),
  };
}

export function passagesOf(work: Work): readonly Passage[] {
  return work.retrieval?.kind === 'success' ? work.retrieval.passages : [];
}
