// The deadlines of one call: its whole time, the wait for the first token, the silence between two chunks.
//
// 1. A call that makes progress costs one time stamp; the one sleeping timer looks at the stamps when it wakes. It
//    never sleeps longer than the silence allowed, so that a stamp cannot bring a deadline to before its waking.
// 2. Nothing is judged before the event loop has polled its sockets once more: what lies there unread counts.
// 3. A wake-up that comes late says that this thread was busy or stopped, so the silence may be ours: the
//    silence is then measured afresh, once. The deadline of the whole call knows no such mercy.

import { setImmediate as pollTurn } from 'node:timers/promises';
import type { Clock } from '../time.ts';

export interface DeadlineLimits {
  readonly totalTimeoutMs: number;
  readonly firstTokenTimeoutMs: number;
  readonly stallTimeoutMs: number;
}

export type DeadlineName = 'total' | 'first_token' | 'stall';

/** A wake-up later than this was delayed by this process rather than by timer granularity. */
const LATE_WAKE_MS = 100;

/** The longest delay that setTimeout takes. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** Made once: without a reason of its own, every abort() would make an exception and its stack trace. */
const STOPPED = new Error('the call has ended');

export class DeadlineWatch {
  readonly #limits: DeadlineLimits;
  readonly #clock: Clock;
  readonly #stopped = new AbortController();
  readonly #startedMs: number;
  #silentSinceMs: number;
  #hasFirstToken = false;
  #isForgiven = false;

  constructor(limits: DeadlineLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
    this.#silentSinceMs = this.#startedMs;
  }

  /** The server has sent something that counts. */
  progress(): void {
    this.#silentSinceMs = this.#clock.monotonicMs();
    this.#hasFirstToken = true;
    this.#isForgiven = false;
  }

  stop(): void {
    this.#stopped.abort(STOPPED);
  }

  /** Resolves with the deadline that passed, or with null after stop(). */
  async passed(): Promise<DeadlineName | null> {
    while (!this.#stopped.signal.aborted) {
      const next = this.#next();
      const lateMs = this.#clock.monotonicMs() - next.atMs;
      if (lateMs < 0) await this.#sleep(Math.min(-lateMs, this.#limits.stallTimeoutMs, TIMER_MAX_MS));
      else if (next.name === 'total' || lateMs <= LATE_WAKE_MS || this.#isForgiven) return next.name;
      else {
        this.#silentSinceMs = this.#clock.monotonicMs();
        this.#isForgiven = true;
      }
    }
    return null;
  }

  #next(): { name: DeadlineName; atMs: number } {
    const totalAtMs = this.#startedMs + this.#limits.totalTimeoutMs;
    const silenceMs = this.#hasFirstToken ? this.#limits.stallTimeoutMs : this.#limits.firstTokenTimeoutMs;
    const silentAtMs = this.#silentSinceMs + silenceMs;
    if (totalAtMs <= silentAtMs) return { name: 'total', atMs: totalAtMs };
    return { name: this.#hasFirstToken ? 'stall' : 'first_token', atMs: silentAtMs };
  }

  async #sleep(durationMs: number): Promise<void> {
    const { signal } = this.#stopped;
    try {
      await this.#clock.sleep(durationMs, signal);
      await pollTurn();
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}
