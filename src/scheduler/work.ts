// What a process has in hand: leased chunks, and their lines on the way through the stages.

import type { CallStage } from '../domain/call-stage.ts';
import type { Lease } from '../domain/chunk.ts';
import type { BatchOptions } from '../domain/options.ts';
import type { Passage, RetrievalOutcome } from '../domain/passage.ts';
import type { Digest } from './digest.ts';
import type { ParsedLine } from './line-parser.ts';
import { newStageState, type StageState } from './stage-state.ts';

/** A leased chunk. Its lines are worked on until each has a record, or until the lease is gone. */
export interface LeasedChunk extends Pick<BatchOptions, 'contextOrder' | 'priority'> {
  readonly lease: Lease;
  /** Aborted when the lease is lost, the batch is cancelled or the service stops. */
  readonly controller: AbortController;
  /** Aborted when its lines are to stop waiting for passages: with the other one, and by a pause. */
  retrieving: AbortController;
  /** What it costs to have it in hand: its raw text, and the passages found for its lines. */
  bytes: number;
  /** Lines in hand that have no record yet. */
  openLines: number;
  /** Those of them that still wait for a digest, or for the passages to make it from. */
  digestLines: number;
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
  /** Whether the mark is stored, once it was asked for: false: the line must not start. */
  startMark: Promise<boolean> | null;
  /** Its record was handed on: whatever still happens to it, there is no second one. */
  isEnded: boolean;
  /** null: not run yet, or rag_mode=off. */
  retrieval: RetrievalOutcome | null;
  retrievalMs: number;
  /** Of the passages found. */
  contextBytes: number;
  /** Content hashes of the passages found, in their order. */
  passageHashes: readonly string[];
  /** The stage whose call it has in flight, or needs next. */
  stage: CallStage;
  /** What lies behind it in that stage. */
  state: StageState;
  /** null: none was asked for, or it has not ended yet. */
  digest: Digest | null;
  /** Waiting for model servers, in all. */
  queuedMs: number;
  /** When the line last became ready for a model server. */
  readyAtMs: number;
}

/** A line at the beginning of its way. */
export function beginWork(chunk: LeasedChunk, line: number, parsed: ParsedLine, isSuspect = false): Work {
  return {
    chunk,
    line,
    parsed,
    isSuspect,
    isStarted: false,
    startMark: null,
    isEnded: false,
    retrieval: null,
    retrievalMs: 0,
    contextBytes: 0,
    passageHashes: [],
    stage: parsed.options.ragMode === 'digest' ? 'rag' : 'generation',
    state: newStageState(),
    digest: null,
    queuedMs: 0,
    readyAtMs: 0,
  };
}

/** The line needs no digest, or has it, or will never have it. */
export function leaveDigest(work: Work): void {
  if (work.stage !== 'rag') return;
  work.stage = 'generation';
  work.state = newStageState();
  work.chunk.digestLines -= 1;
}

/** The line begins anew with retrieval, before anything was asked for it. */
export function beginAgain(work: Work): void {
  work.retrieval = null;
  work.passageHashes = [];
  // An order of passages is of those that were found then.
  work.state.passageOrder = null;
  if (work.parsed.options.ragMode !== 'digest' || work.stage === 'rag') return;
  work.stage = 'rag';
  work.state = newStageState();
  work.chunk.digestLines += 1;
}

export function passagesOf(work: Work): readonly Passage[] {
  return work.retrieval?.kind === 'success' ? work.retrieval.passages : [];
}
