// How soon a rebuild that was in vain is tried again. Each one reads the corpus from its beginning and tells of its failure,
// while an outage is probed every second or two.

import type { Clock } from '../time.ts';

const baseMs = 2_000;
const capMs = 30_000;

export class RebuildPace {
  readonly #clock: Clock;
  #inVain = 0;
  #dueAtMs = Number.NEGATIVE_INFINITY;
  #reason = '';

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What was wrong the last time, while the next rebuild has to wait; null: it may begin. */
  get obstacle(): string | null {
    return this.#clock.monotonicMs() < this.#dueAtMs ? this.#reason : null;
  }

  /** One has failed, or may well turn out to have changed nothing. */
  wasInVain(reason: string): void {
    this.#reason = reason;
    this.#dueAtMs = this.#clock.monotonicMs() + Math.min(capMs, baseMs * 2 ** this.#inVain);
    this.#inVain += 1;
  }

  /** Retrieval works. */
  reset(): void {
    this.#inVain = 0;
    this.#dueAtMs = Number.NEGATIVE_INFINITY;
  }
}
