// The calls in flight: usually one a line and stage, two while a line is hedged. Which of them is the last decides who has
// the say over the line.

import { Bag, type BagMember } from '../bag.ts';
import type { CallStage } from '../domain/call-stage.ts';
import type { TaskCancel } from '../generation/task-cancel.ts';
import type { Endpoint } from '../gpu-pool/endpoint.ts';
import type { StageState } from './stage-state.ts';
import type { LeasedChunk, Work } from './work.ts';

export interface CallTrace {
  readonly endpoint: string;
  readonly model: string;
  readonly durationMs: number;
}

/** One call of a line to an endpoint, from the moment it goes to the gate. */
export interface Call extends BagMember {
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
  readonly cancel: TaskCancel;
  trace: CallTrace;
  /** When it left, in monotonic milliseconds; null: not yet. */
  sentAtMs: number | null;
}

export class Calls {
  readonly #inFlight = new Bag<Call>();
  #lines = 0;

  /** Lines with a call in flight. */
  get lines(): number {
    return this.#lines;
  }

  add(call: Call): void {
    this.#inFlight.add(call);
    call.state.callsInFlight += 1;
    if (call.state.callsInFlight === 1) this.#lines += 1;
  }

  /** The call has ended. Answers whether it was the last of its line and stage. */
  remove(call: Call): boolean {
    this.#inFlight.remove(call);
    call.state.callsInFlight -= 1;
    if (call.state.callsInFlight > 0) return false;
    this.#lines -= 1;
    return true;
  }

  othersOf(call: Call): Call[] {
    if (call.state.callsInFlight === 0) return [];
    return this.#inFlight.members.filter((other) => other !== call && other.state === call.state);
  }

  /** Of lines of the chunk. */
  of(chunk: LeasedChunk): Call[] {
    return this.#inFlight.members.filter(({ work }) => work.chunk === chunk);
  }

  /** Calls that a line waits for and has but one of, the longest in flight first. */
  get single(): Call[] {
    return this.#inFlight.members
      .filter(({ sentAtMs, state }) => state.callsInFlight === 1 && sentAtMs !== null && !state.isAnswered)
      .sort((a, b) => (a.sentAtMs ?? 0) - (b.sentAtMs ?? 0));
  }
}
