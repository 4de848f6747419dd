// What follows for a line from a failed call: the line ends, or is tried again, at once or after a while.
//
// (D2) Only failures of the line's own tries count as attempts: an endpoint that dies, is full or is misconfigured
//      under it does not.

import type { Ended } from '../gpu-pool/ended.ts';
import type { GpuPool } from '../gpu-pool/gpu-pool.ts';
import type { Call } from './calls.ts';
import type { StageState } from './stage-state.ts';

/**
 * `nothing`: the call was ended by ourselves, and who ended it minds the line. `later`: after a backoff; `paid`: that too,
 * and when the retry budget allows; `spare`: the same, if the budget allows it right now, and else the line ends.
 */
export type Aftermath = 'fail' | 'again' | 'later' | 'paid' | 'spare' | 'nothing';

/**
 * What a line survives without blame: endpoints that die under it, are full, or cannot serve it. Beyond, the line may be
 * the reason. A full server is normal, so it counts for little; the waits make a hundred of them some ten minutes.
 */
const INNOCENT_LIMITS = { hard: 10, overload: 100, misconfigured: 3 } as const;
/** Endpoints that may refuse a line before that is its end. */
const REFUSALS_MAX = 3;
/** A model that says nothing mostly does so for the whole batch, of which no line is worth more tries than this. */
const EMPTY_ATTEMPTS_MAX = 2;

/** Counts the failure against the line where that is fair. */
export async function aftermathOf(
  call: Call,
  ended: Ended,
  context: { readonly pool: GpuPool; readonly maxAttempts: number },
): Promise<Aftermath> {
  const { state } = call;
  const { outcome } = ended;
  if (outcome.kind === 'success' || outcome.class === 'cancelled') return 'nothing';
  // A full server is a good one: only its queue has to be waited for.
  if (outcome.class !== 'overload') state.avoid.add(call.endpoint.name);
  switch (outcome.class) {
    case 'hard':
      return survives(state, 'hard') ? 'again' : 'fail';
    case 'overload':
    case 'misconfigured':
      return survives(state, outcome.class) ? 'later' : 'fail';
    case 'ambiguous':
      if (await ended.isInnocent) return survives(state, 'hard') ? 'again' : 'fail';
      state.attempts += 1;
      return tryAgain(state, outcome.code === 'empty_answer', context.maxAttempts);
    case 'request':
      return refused(call, ended, context.pool);
    default:
      return outcome.class satisfies never;
  }
}

function tryAgain({ attempts }: StageState, isEmpty: boolean, maxAttempts: number): Aftermath {
  if (attempts >= (isEmpty ? Math.min(EMPTY_ATTEMPTS_MAX, maxAttempts) : maxAttempts)) return 'fail';
  return isEmpty ? 'spare' : 'paid';
}

function survives(state: StageState, kind: keyof typeof INNOCENT_LIMITS): boolean {
  state.innocentFailures[kind] += 1;
  return state.innocentFailures[kind] <= INNOCENT_LIMITS[kind];
}

/** A refusal is the last word, unless it may be the endpoint's rather than the line's doing. */
async function refused(
  { state, stage, model, endpoint }: Call,
  ended: Ended,
  pool: GpuPool,
): Promise<Aftermath> {
  state.refusedBy.add(endpoint.name);
  const isTriedElsewhere =
    state.refusedBy.size < REFUSALS_MAX &&
    pool.isServedBeside(state.refusedBy, stage, model) &&
    (await ended.verdict) !== 'final';
  if (isTriedElsewhere) return 'again';
  state.attempts += 1;
  return 'fail';
}
