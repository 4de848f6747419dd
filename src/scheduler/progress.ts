// How fast a batch goes: lines finished in the last half minute.

import type { Clock } from '../time.ts';

/** The window of the rate, in seconds; one bucket a second. */
const WINDOW_SECONDS = 30;

export class ProgressMeter {
  readonly #clock: Clock;
  readonly #startedSecond: number;
  readonly #buckets = new Array<number>(WINDOW_SECONDS).fill(0);
  #currentSecond: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedSecond = this.#second();
    this.#currentSecond = this.#startedSecond;
  }

  add(lines: number): void {
    this.#advance();
    const bucket = this.#currentSecond % WINDOW_SECONDS;
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + lines;
  }

  linesPerSecond(): number {
    this.#advance();
    const elapsed = Math.min(WINDOW_SECONDS, this.#currentSecond - this.#startedSecond + 1);
    return this.#buckets.reduce((sum, count) => sum + count, 0) / elapsed;
  }

  #advance(): void {
    const now = this.#second();
    const steps = Math.min(WINDOW_SECONDS, now - this.#currentSecond);
    for (let step = 1; step <= steps; step += 1) this.#buckets[(now - steps + step) % WINDOW_SECONDS] = 0;
    this.#currentSecond = now;
  }

  #second(): number {
    return Math.floor(this.#clock.monotonicMs() / 1000);
  }
}
