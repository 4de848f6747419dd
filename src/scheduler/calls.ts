// The calls in flight: usually one a line and stage, two while a line is hedged. Which of them is the last decides who has
// the say over the line.

import type { CallStage } from '../domain/call-stage.ts';
import type { Endpoint } from '../gpu-pool/endpoint.ts';
import type { StageState } from './stage-state.ts';
import type { Work } from './work.ts';

export interface CallTrace {
  readonly endpoint: string;
  readonly model: string;
  readonly durationMs: number;
}

/** One call of a line to an endpoint, from the moment it goes to the gate. */
export interface Call {
  readonly work: Work;
  /** The stage that it is made for: the line may be in its next one by the time it ends. */
  readonly stage: CallStage;
  readonly state: StageState;
  /** What the line wants; null: the endpoint's own. */
  readonly model: string | null;
  readonly endpoint: Endpoint;
  /** A second call of a line whose first one is in flight. */
  readonly isHedge: boolean;
  /** Aborted when the line is no longer ours, or was answered by its other call. */
  readonly controller: AbortController;
  trace: CallTrace;
  /** When it left, in monotonic milliseconds; null: not yet. */
  sentAtMs: number | null;
}

export class Calls {
  readonly #byState = new Map<StageState, Call[]>();

  /** Lines with a call in flight. */
  get lines(): number {
    return this.#byState.size;
  }

  has(state: StageState): boolean {
    return this.#byState.has(state);
  }

  add(call: Call): void {
    const calls = this.#byState.get(call.state);
    if (calls) calls.push(call);
    else this.#byState.set(call.state, [call]);
  }

  /** The call has ended. Answers whether it was the last of its line and stage. */
  remove(call: Call): boolean {
    const left = this.othersOf(call);
    if (left.length > 0) this.#byState.set(call.state, left);
    else this.#byState.delete(call.state);
    return left.length === 0;
  }

  othersOf(call: Call): Call[] {
    return (this.#byState.get(call.state) ?? []).filter((other) => other !== call);
  }

  /** Calls that a line waits for and has but one of, the longest in flight first. */
  get single(): Call[] {
    return [...this.#byState.values()]
      .flatMap((calls) => (calls.length === 1 ? calls : []))
      .filter(({ sentAtMs, state }) => sentAtMs !== null && !state.isAnswered)
      .sort((a, b) => (a.sentAtMs ?? 0) - (b.sentAtMs ?? 0));
  }
}
