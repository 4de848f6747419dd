// Remembers a change that comes between a look and the wait for the next one.

import type { Clock } from '../time.ts';

export class ChangeFlag {
  #isRaised = false;
  #wake: () => void = () => {};

  /** An abort counts as a change: whoever waits looks again, and finds out. */
  constructor(signal: AbortSignal) {
    signal.addEventListener('abort', () => this.raise(), { once: true });
  }

  raise(): void {
    this.#isRaised = true;
    this.#wake();
  }

  lower(): void {
    this.#isRaised = false;
  }

  async raised(): Promise<void> {
    if (this.#isRaised) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  /** The same, but for `durationMs` at most. */
  async raisedWithin(clock: Clock, durationMs: number): Promise<void> {
    const settled = new AbortController();
    await Promise.race([this.raised(), clock.sleep(durationMs, settled.signal)]);
    settled.abort();
  }
}
