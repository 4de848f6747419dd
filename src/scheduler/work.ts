// What a process has in hand: leased chunks, and their lines on the way through the stages.

import type { Lease } from '../domain/chunk.ts';
import type { GenerationOutcome } from '../domain/generation.ts';
import type { ContextCut, Passage, RetrievalOutcome } from '../domain/passage.ts';
import type { Attempt } from '../domain/record.ts';
import type { ParsedLine } from './line-parser.ts';

/** A leased chunk. Its lines are worked on until each has a record, or until the lease is gone. */
export interface LeasedChunk {
  readonly lease: Lease;
  /** Aborted when the lease is lost, the batch is cancelled or the service stops. */
  readonly controller: AbortController;
  /** Aborted when its lines are to stop waiting for passages: with the other one, and by a pause. */
  retrieving: AbortController;
  /** Raw bytes of the chunk: what it costs to have it in hand. */
  readonly bytes: number;
  /** Lines in hand that have no record yet. */
  openLines: number;
  /** true: pause_after left some of its open lines with the store. */
  readonly isPartial: boolean;
  /** Lines that a pause has held back: they go on with a resume, or back to the store with the chunk. */
  parked: Work[];
  /** true: with its lines the batch is at the stop of pause_after. */
  readonly isLimited: boolean;
  /** true: its batch was paused, and what has not started by now does not start. */
  isPausing: boolean;
}

/** A line on its way. The stages fill in what they find out. */
export interface Work {
  readonly chunk: LeasedChunk;
  /** 1-based number in the upload. */
  readonly line: number;
  readonly parsed: ParsedLine;
  /** The process has died too often while it was started: it runs alone, in a process of its own. */
  readonly isSuspect: boolean;
  /** Its start mark is stored, or on its way: a pause lets it finish. */
  isStarted: boolean;
  /** null: not run yet, or rag_mode=off. */
  retrieval: RetrievalOutcome | null;
  retrievalMs: number;
  /** Content hashes of the passages found, in their order. */
  passageHashes: readonly string[];
  /** SHA-256 of the request body that was sent last; null: nothing was sent. */
  promptHash: string | null;
  /** How the passages were cut to fit it; null: they were not. */
  contextCut: ContextCut | null;
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
  /** Those among them that refused it. */
  readonly refusedBy: Set<string>;
  /** What its prompt and answer take of a KV cache, estimated; 0: not estimated yet. */
  tokens: number;
  /** Every generation so far, as it ended. */
  readonly tries: Attempt[];
  /** One of its calls has answered it: whatever the other one ends with is of no interest. */
  isAnswered: boolean;
}

/** A line at the beginning of its way. */
export function beginWork(chunk: LeasedChunk, line: number, parsed: ParsedLine, isSuspect = false): Work {
  return {
    chunk,
    line,
    parsed,
    isSuspect,
    isStarted: false,
    retrieval: null,
    retrievalMs: 0,
    passageHashes: [],
    promptHash: null,
    contextCut: null,
    queuedMs: 0,
    readyAtMs: 0,
    attempts: 0,
    innocentFailures: { hard: 0, overload: 0, misconfigured: 0 },
    avoid: new Set(),
    refusedBy: new Set(),
    tokens: 0,
    tries: [],
    isAnswered: false,
  };
}

/** Tries that a record tells of: the last ones. */
const TRIES_KEPT = 20;

/** A generation of the line has ended, after so long at that endpoint. */
export function rememberTry(
  work: Work,
  outcome: GenerationOutcome,
  { endpoint, durationMs }: { readonly endpoint: string; readonly durationMs: number },
): void {
  if (outcome.kind === 'failure' && outcome.class === 'cancelled') return;
  if (outcome.promptHash !== undefined) {
    work.promptHash = outcome.promptHash;
    work.contextCut = outcome.contextCut ?? null;
  }
  const [ending, code, message] =
    outcome.kind === 'success' ? ['success', null, null] : [outcome.class, outcome.code, outcome.message];
  work.tries.push({ endpoint, ending, code, message, durationMs: Math.round(durationMs) });
  if (work.tries.length > TRIES_KEPT) work.tries.shift();
}

export function passagesOf(work: Work): readonly Passage[] {
  return work.retrieval?.kind === 'success' ? work.retrieval.passages : [];
}
