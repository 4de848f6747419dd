// A budget of calls beside the first one of each line: first calls earn a share of one, time may earn some, and what is
// saved up is bounded. Retries and hedges have one each, over the whole pool.
// Source: B. Beyer et al., "Site Reliability Engineering", O'Reilly 2016, chapter 21 (per-client retry budget of 10 %).

import type { Clock } from '../time.ts';

export interface CallBudgetOptions {
  /** Earned by a call that is made for the first time. */
  readonly share: number;
  /** Earned in a second, whatever happens. */
  readonly perSecond: number;
  readonly savedAtStart: number;
  readonly savedMax: number;
}

export class CallBudget {
  readonly #options: CallBudgetOptions;
  readonly #clock: Clock;
  #saved: number;
  #countedAtMs: number;

  constructor(options: CallBudgetOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.#saved = options.savedAtStart;
    this.#countedAtMs = clock.monotonicMs();
  }

  /** A line was sent for the first time. */
  earn(): void {
    this.#save(this.#options.share);
  }

  /** Whether one more call may be made now; if so it is paid for. */
  spend(): boolean {
    const nowMs = this.#clock.monotonicMs();
    this.#save(((nowMs - this.#countedAtMs) / 1000) * this.#options.perSecond);
    this.#countedAtMs = nowMs;
    if (this.#saved < 1) return false;
    this.#saved -= 1;
    return true;
  }

  #save(calls: number): void {
    this.#saved = Math.min(this.#options.savedMax, this.#saved + calls);
  }
}
