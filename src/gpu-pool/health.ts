// What an endpoint's answers and failures say of it, put together: whether it may get lines at all, and if not, why.

import type { ModelFailure } from '../domain/failure.ts';
import type { ModelAnswer } from '../domain/generation.ts';
import type { Clock } from '../time.ts';
import { Breaker, type BreakerFault, type BreakerState } from './breaker.ts';
import { Refusals, type RefusalVerdict } from './refusals.ts';

/** Misconfigured answers in a row after which an endpoint that has answered is taken out. */
const MISFIT_LIMIT = 3;

export class Health {
  readonly #breaker: Breaker;
  readonly #refusals = new Refusals();
  #misfitsInRow = 0;
  /** Since it came up. */
  #hasAnswered = false;

  constructor(clock: Clock) {
    this.#breaker = new Breaker(clock);
  }

  get breakerState(): BreakerState {
    return this.#breaker.state;
  }

  get isUp(): boolean {
    return this.#breaker.state === 'closed';
  }

  /** Why it is not up; null while it is. */
  get reason(): string | null {
    return this.#breaker.reason;
  }

  /** When it is to be looked at again, in monotonic milliseconds. */
  get lookAtMs(): number {
    return this.#breaker.lookAtMs;
  }

  /** Refuses one line after the other: a trial has to tell whether it is the endpoint. */
  get isDoubtful(): boolean {
    return this.isUp && this.#refusals.isDoubtful;
  }

  answered(): void {
    this.#hasAnswered = true;
    this.#misfitsInRow = 0;
    this.#breaker.answered();
    this.#refusals.answered();
  }

  /** A request failed. Whether a refusal is the last word turns out later; null: it was none. */
  failed(failure: ModelFailure): Promise<RefusalVerdict> | null {
    if (failure.class === 'request') return this.#refusals.refused();
    // A whole answer that says nothing is the line's or the model's doing.
    if (!this.isUp || failure.code === 'empty_answer') return null;
    if (failure.class === 'hard' || failure.class === 'ambiguous') {
      this.#breaker.failed(faultOf(failure), failure.message);
    } else if (failure.class === 'misconfigured') {
      this.#misfitsInRow += 1;
      // A server that has answered others may only dislike this one request.
      if (!this.#hasAnswered || this.#misfitsInRow >= MISFIT_LIMIT)
        this.#out('misconfigured', failure.message);
    }
    return null;
  }

  /** The server cannot be looked at. */
  missed(failure: ModelFailure): void {
    if (this.isUp) this.#out('refused', failure.message);
    else this.#stayOut(failure);
  }

  /** The server can be looked at. One that was out is now to be tried. */
  seen(): void {
    this.#breaker.halfOpen();
  }

  /**
   * How the trial of an endpoint that was out, or is doubtful, has ended. Answers whether it is back. One that refuses the
   * trial is out only if there are others to do the work: it may dislike no more than the trial.
   */
  tried(outcome: ModelAnswer | ModelFailure, hasSiblings: boolean): boolean {
    // An answer without a word is one: a model may well spend its only token on thinking.
    const isGood = outcome.kind === 'success' || outcome.code === 'empty_answer';
    const isAlone = outcome.kind === 'failure' && outcome.class === 'request' && !hasSiblings;
    if (isGood || isAlone || (this.isUp && outcome.class === 'overload')) {
      this.#refusals.trusted();
      const isBack = !this.isUp;
      this.#breaker.close();
      return isBack;
    }
    if (outcome.class === 'request')
      this.#out('contradicted', `it refuses every request: ${outcome.message}`);
    else if (outcome.class !== 'cancelled') this.#stayOut(outcome);
    return false;
  }

  /** A line that was refused here was answered elsewhere. */
  contradicted(): void {
    if (this.isUp && this.#refusals.contradicted()) {
      this.#out('contradicted', 'it refuses lines that other endpoints answer');
    }
  }

  /** The refused lines that wait for their verdict are to be tried elsewhere. */
  giveUp(): void {
    this.#refusals.giveUp();
  }

  /** A new server: nothing is held against it. */
  forget(): void {
    this.#breaker.close();
    this.#hasAnswered = false;
  }

  #stayOut(failure: ModelFailure): void {
    if (failure.class === 'overload') this.#breaker.full(failure.message, failure.retryAfterMs ?? 0);
    else this.#out(faultOf(failure), failure.message);
  }

  #out(fault: BreakerFault, reason: string): void {
    this.#breaker.open(fault, reason);
    this.#hasAnswered = false;
    this.#misfitsInRow = 0;
  }
}

function faultOf(failure: ModelFailure): BreakerFault {
  if (failure.class === 'misconfigured') return 'misconfigured';
  if (failure.isRefused) return 'refused';
  return failure.class === 'hard' || failure.isBroken ? 'broken' : 'ambiguous';
}
