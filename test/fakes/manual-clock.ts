// A clock that a test moves by hand: sleepers wake in the order of their times, each at exactly its time.

import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../src/time.ts';

interface Sleeper {
  readonly wakeAtMs: number;
  readonly wake: () => void;
}

export class ManualClock implements Clock {
  #nowMs: number;
  #sleepers: Sleeper[] = [];

  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal?.reason);
      };
      const wake = () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      const sleeper = { wakeAtMs: this.#nowMs + durationMs, wake };
      this.#sleepers.push(sleeper);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Timers that wait for the clock to move. */
  get sleepers(): number {
    return this.#sleepers.length;
  }

  /** Moves on, letting everybody who wakes on the way do what they wake for. Without sleepers it is done at once. */
  async advance(durationMs: number): Promise<void> {
    const untilMs = this.#nowMs + durationMs;
    for (let next = this.#earliest(untilMs); next !== null; next = this.#earliest(untilMs)) {
      this.#nowMs = next.wakeAtMs;
      await this.#wake(next);
    }
    this.#nowMs = untilMs;
  }

  /** A process that was held up: time has passed, and the sleepers wake late. */
  async jump(durationMs: number): Promise<void> {
    this.#nowMs += durationMs;
    for (let next = this.#earliest(this.#nowMs); next !== null; next = this.#earliest(this.#nowMs)) {
      await this.#wake(next);
    }
  }

  #earliest(untilMs: number): Sleeper | null {
    const due = this.#sleepers.filter(({ wakeAtMs }) => wakeAtMs <= untilMs);
    return due.sort((a, b) => a.wakeAtMs - b.wakeAtMs)[0] ?? null;
  }

  async #wake(sleeper: Sleeper): Promise<void> {
    this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
    sleeper.wake();
    for (let turns = 0; turns < 3; turns += 1) await turn();
  }
}
