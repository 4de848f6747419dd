// Whether an endpoint gets requests: closed, it does; open, it does not and is looked at from time to time; half-open, the
// look went well and one tiny completion of the pool's own decides. No line is ever sent to find out.
//
// (B1) A refused connection opens at once, broken ones at the third in a row, ambiguous failures at the fifth in a row or
//      when they are half of ten and more within half a minute.
// (B2) What was in flight when it opened says nothing new, and does not open it again.
// (B3) Half-open always ends: closed again, or open with a new wait.
// (B4) The wait grows with every opening since the last answer to a real request, and the answer ends that.
// (B5) A server that is there and full is no sicker for it: until it has room, it is looked at again after the same short
//      wait, or the one that it asks for.

import type { Clock } from '../time.ts';

export type BreakerState = 'closed' | 'open' | 'half_open';

/**
 * How an endpoint fails: nobody listens, the connection broke, the answer was none, it cannot serve anybody (wrong key,
 * no such model), or it refuses what its siblings answer.
 */
export type BreakerFault = 'refused' | 'broken' | 'ambiguous' | 'misconfigured' | 'contradicted';

const BROKEN_LIMIT = 3;
const AMBIGUOUS_LIMIT = 5;
const SAMPLE_SPAN_MS = 30_000;
const SAMPLES_MIN = 10;
const FAILED_SHARE = 0.5;
/** More samples than that change no share worth knowing. */
const SAMPLES_MAX = 200;

/** First and longest wait before the next look, in milliseconds. */
const WAITS_MS: Readonly<Record<BreakerFault, readonly [first: number, longest: number]>> = {
  refused: [500, 3_000],
  broken: [1_000, 3_000],
  ambiguous: [1_500, 30_000],
  misconfigured: [30_000, 30_000],
  contradicted: [30_000, 300_000],
};

/** Shortest wait before the next look at a full server, in milliseconds. */
const FULL_WAIT_MS = 1_000;

interface Sample {
  readonly atMs: number;
  readonly isFailure: boolean;
}

export class Breaker {
  readonly #clock: Clock;
  #state: BreakerState = 'closed';
  #reason: string | null = null;
  #lookAtMs = 0;
  #inRow: Record<'broken' | 'ambiguous', number> = { broken: 0, ambiguous: 0 };
  #openings = 0;
  #samples: Sample[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get state(): BreakerState {
    return this.#state;
  }

  /** Why it is not closed; null while it is. */
  get reason(): string | null {
    return this.#reason;
  }

  /** When it is to be looked at again, in monotonic milliseconds. */
  get lookAtMs(): number {
    return this.#lookAtMs;
  }

  /** A real request was answered. */
  answered(): void {
    this.#inRow = { broken: 0, ambiguous: 0 };
    this.#openings = 0;
    this.#sample(false);
  }

  /** A request failed by the endpoint's fault. */
  failed(fault: BreakerFault, reason: string): void {
    if (this.#state !== 'closed') return;
    if (fault === 'broken' || fault === 'ambiguous') {
      this.#inRow[fault] += 1;
      this.#sample(true);
      if (!this.#isTooMuch()) return;
    }
    this.open(fault, reason);
  }

  open(fault: BreakerFault, reason: string): void {
    const [firstMs, longestMs] = WAITS_MS[fault];
    this.#state = 'open';
    this.#reason = reason;
    this.#lookAtMs = this.#clock.monotonicMs() + Math.min(longestMs, firstMs * 2 ** this.#openings);
    this.#openings = Math.min(this.#openings + 1, 16);
  }

  /** It is open, and the server answers that it has no room, and asks for so much patience. */
  full(reason: string, patienceMs: number): void {
    this.#state = 'open';
    this.#reason = reason;
    this.#lookAtMs = this.#clock.monotonicMs() + Math.max(FULL_WAIT_MS, patienceMs);
  }

  /** The server lists its models again: the trial may be made. */
  halfOpen(): void {
    if (this.#state === 'open') this.#state = 'half_open';
  }

  close(): void {
    this.#state = 'closed';
    this.#reason = null;
    this.#inRow = { broken: 0, ambiguous: 0 };
    this.#samples = [];
  }

  #isTooMuch(): boolean {
    if (this.#inRow.broken >= BROKEN_LIMIT || this.#inRow.ambiguous >= AMBIGUOUS_LIMIT) return true;
    const failed = this.#samples.filter(({ isFailure }) => isFailure).length;
    return this.#samples.length >= SAMPLES_MIN && failed >= this.#samples.length * FAILED_SHARE;
  }

  #sample(isFailure: boolean): void {
    const nowMs = this.#clock.monotonicMs();
    // Only failures ask for the shares, so that only they pay for the sorting out.
    if (isFailure) this.#samples = this.#samples.filter(({ atMs }) => nowMs - atMs <= SAMPLE_SPAN_MS);
    this.#samples.push({ atMs: nowMs, isFailure });
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }
}
