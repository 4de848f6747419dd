// Bounds the calls that are made again, over the whole pool: a sick pool must not be asked more than a healthy one.
// Calls made for the first time earn a share of a call made again; so does time, lest a line wait for ever.
// Source: B. Beyer et al., "Site Reliability Engineering", O'Reilly 2016, chapter 21 (per-client retry budget of 10 %).

import type { Clock } from '../time.ts';

/** Earned by a call that is made for the first time. */
const SHARE = 0.1;
/** Earned in a second, whatever happens. */
const PER_SECOND = 1;
/** What can be saved up, and what there is at the start. */
const SAVED_MAX = 100;
const SAVED_AT_START = 20;

export class RetryBudget {
  readonly #clock: Clock;
  #saved = SAVED_AT_START;
  #countedAtMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#countedAtMs = clock.monotonicMs();
  }

  /** A line was sent for the first time. */
  earn(): void {
    this.#saved = Math.min(SAVED_MAX, this.#saved + SHARE);
  }

  /** Whether a call may be made again now; if so it is paid for. */
  spend(): boolean {
    const nowMs = this.#clock.monotonicMs();
    this.#saved = Math.min(SAVED_MAX, this.#saved + ((nowMs - this.#countedAtMs) / 1000) * PER_SECOND);
    this.#countedAtMs = nowMs;
    if (this.#saved < 1) return false;
    this.#saved -= 1;
    return true;
  }
}
