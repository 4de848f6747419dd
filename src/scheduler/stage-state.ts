// What a line has behind it in one of the stages that call a model server: its tries there, and who failed it. Each stage
// begins anew.

import type { GenerationOutcome } from '../domain/generation.ts';
import type { ContextCut } from '../domain/passage.ts';
import type { Attempt } from '../domain/record.ts';

export interface StageState {
  callsInFlight: number;
  /** Calls that count as attempts of the line. */
  attempts: number;
  /** Calls that ended because of the endpoint, not because of the line, by failure class. */
  readonly innocentFailures: { hard: number; overload: number; misconfigured: number };
  /** Endpoints that failed it: the next attempt goes elsewhere if it can. */
  readonly avoid: Set<string>;
  /** Those among them that refused it. */
  readonly refusedBy: Set<string>;
  /** What its prompt and answer take of a KV cache, estimated; 0: not estimated yet. */
  tokens: number;
  /** For each place in its prompt the 0-based rank of the passage there; null: in ranking order. */
  passageOrder: readonly number[] | null;
  /** Lines that begin like it wait for its answer to begin (`isRead`), or to come to nothing; null: none do any more. */
  release: ((isRead: boolean) => void) | null;
  /** Every call so far, as it ended. */
  readonly tries: Attempt[];
  /** SHA-256 of the request body that was sent last; null: nothing was sent. */
  promptHash: string | null;
  /** How its passages were cut to fit; null: they were not. */
  contextCut: ContextCut | null;
  /** One of its calls has succeeded: whatever the other one ends with is of no interest. */
  isAnswered: boolean;
}

export function newStageState(): StageState {
  return {
    callsInFlight: 0,
    attempts: 0,
    innocentFailures: { hard: 0, overload: 0, misconfigured: 0 },
    avoid: new Set(),
    refusedBy: new Set(),
    tokens: 0,
    passageOrder: null,
    release: null,
    tries: [],
    promptHash: null,
    contextCut: null,
    isAnswered: false,
  };
}

/** Its answer has begun, or its call has ended: whoever waits for it need not any more. */
export function releaseFollowers(state: StageState, isRead: boolean): void {
  state.release?.(isRead);
  state.release = null;
}

/** Tries that a record tells of: the last ones. */
const TRIES_KEPT = 20;

/** A call of the line has ended, after so long at that endpoint. */
export function rememberTry(
  state: StageState,
  outcome: GenerationOutcome,
  { endpoint, durationMs }: { readonly endpoint: string; readonly durationMs: number },
): void {
  if (outcome.kind === 'failure' && outcome.class === 'cancelled') return;
  if (outcome.promptHash !== undefined) {
    state.promptHash = outcome.promptHash;
    state.contextCut = outcome.contextCut ?? null;
  }
  const [ending, code, message] =
    outcome.kind === 'success' ? ['success', null, null] : [outcome.class, outcome.code, outcome.message];
  state.tries.push({ endpoint, ending, code, message, durationMs: Math.round(durationMs) });
  if (state.tries.length > TRIES_KEPT) state.tries.shift();
}
