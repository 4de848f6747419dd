// The calls in flight: usually one a line, two while a line is hedged. Which of them is the last of its line decides who
// has the say over it.

import type { Endpoint } from '../gpu-pool/endpoint.ts';
import type { GenerationTrace } from './result-record.ts';
import type { Work } from './work.ts';

/** One call of a line to an endpoint, from the moment it goes to the gate. */
export interface Call {
  readonly work: Work;
  readonly endpoint: Endpoint;
  /** A second call of a line whose first one is in flight. */
  readonly isHedge: boolean;
  /** Aborted when the line is no longer ours, or was answered by its other call. */
  readonly controller: AbortController;
  trace: GenerationTrace;
  /** When it left, in monotonic milliseconds; null: not yet. */
  sentAtMs: number | null;
}

export class Calls {
  readonly #byWork = new Map<Work, Call[]>();

  /** Lines with a call in flight. */
  get lines(): number {
    return this.#byWork.size;
  }

  has(work: Work): boolean {
    return this.#byWork.has(work);
  }

  add(call: Call): void {
    const calls = this.#byWork.get(call.work);
    if (calls) calls.push(call);
    else this.#byWork.set(call.work, [call]);
  }

  /** The call has ended. Answers whether it was the last of its line. */
  remove(call: Call): boolean {
    const left = this.othersOf(call);
    if (left.length > 0) this.#byWork.set(call.work, left);
    else this.#byWork.delete(call.work);
    return left.length === 0;
  }

  othersOf(call: Call): Call[] {
    return (this.#byWork.get(call.work) ?? []).filter((other) => other !== call);
  }

  /** Calls of lines that have but one, the longest in flight first. */
  get single(): Call[] {
    return [...this.#byWork.values()]
      .flatMap((calls) => (calls.length === 1 ? calls : []))
      .filter((call) => call.sentAtMs !== null)
      .sort((a, b) => (a.sentAtMs ?? 0) - (b.sentAtMs ?? 0));
  }
}
