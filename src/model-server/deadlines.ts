// The deadlines of calls: their whole time, the wait for the first token, the silence between two chunks.
//
// 1. A call that makes progress costs one time stamp. One timer for all calls sleeps until the first of them has to be
//    looked at. None is left alone for longer than the silence it is allowed, so that a stamp cannot bring a deadline to
//    before its waking.
// 2. Nothing is judged before the event loop has polled its sockets once more: what lies there unread counts.
// 3. A wake-up that comes late says that this thread was busy or stopped, so the silence may be ours: the
//    silence is then measured afresh, once. The deadline of the whole call knows no such mercy.

import { setImmediate as pollTurn } from 'node:timers/promises';
import { Bag, type BagMember } from '../bag.ts';
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
const WOKEN = new Error('the timer is set anew');

interface Watched extends BagMember {
  readonly watch: DeadlineWatch;
  readonly onPassed: (passed: DeadlineName) => void;
}

/** Ends a watch. */
export type Unwatch = () => void;

/** The watches over all calls of one client. */
export class Deadlines {
  readonly #clock: Clock;
  readonly #watched = new Bag<Watched>();
  /** null while nothing is watched. */
  #timer: { readonly controller: AbortController; readonly wakeAtMs: number } | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls back once, when one of its deadlines has passed, unless its watch ends before. */
  watch(watch: DeadlineWatch, onPassed: (passed: DeadlineName) => void): Unwatch {
    const watched = { watch, onPassed, place: -1 };
    this.#watched.add(watched);
    if (this.#timer === null || watch.lookAtMs < this.#timer.wakeAtMs) this.#sleepUntil(watch.lookAtMs);
    return () => {
      this.#watched.remove(watched);
      if (this.#watched.size === 0) this.#stop();
    };
  }

  #stop(): void {
    this.#timer?.controller.abort(WOKEN);
    this.#timer = null;
  }

  #sleepUntil(wakeAtMs: number): void {
    this.#stop();
    const controller = new AbortController();
    this.#timer = { controller, wakeAtMs };
    const durationMs = Math.min(Math.max(0, wakeAtMs - this.#clock.monotonicMs()), TIMER_MAX_MS);
    this.#clock.sleep(durationMs, controller.signal).then(
      () => this.#look(controller.signal),
      () => {},
    );
  }

  async #look(signal: AbortSignal): Promise<void> {
    await pollTurn();
    if (signal.aborted) return;
    for (const watched of this.#watched.members) {
      // What happens to one may end others, and begin new ones.
      if (watched.place < 0) continue;
      const passed = watched.watch.look();
      if (passed === null) continue;
      this.#watched.remove(watched);
      watched.onPassed(passed);
    }
    if (this.#watched.size === 0) return this.#stop();
    let wakeAtMs = Number.POSITIVE_INFINITY;
    for (const { watch } of this.#watched) wakeAtMs = Math.min(wakeAtMs, watch.lookAtMs);
    this.#sleepUntil(wakeAtMs);
  }
}

/** The deadlines of one call. Its time begins when it is made. */
export class DeadlineWatch {
  readonly #limits: DeadlineLimits;
  readonly #clock: Clock;
  readonly #startedMs: number;
  #silentSinceMs: number;
  #lookAtMs: number;
  #hasFirstToken = false;
  #isForgiven = false;

  constructor(limits: DeadlineLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
    this.#silentSinceMs = this.#startedMs;
    this.#lookAtMs = this.#nextLookMs(this.#startedMs);
  }

  /** When it has to be looked at next, in monotonic milliseconds. */
  get lookAtMs(): number {
    return this.#lookAtMs;
  }

  get hasFirstToken(): boolean {
    return this.#hasFirstToken;
  }

  /** The server has sent something that counts. */
  progress(): void {
    this.#silentSinceMs = this.#clock.monotonicMs();
    this.#hasFirstToken = true;
    this.#isForgiven = false;
  }

  /** The deadline that has passed by now. */
  look(): DeadlineName | null {
    const nowMs = this.#clock.monotonicMs();
    const { name, atMs } = this.#next();
    const lateMs = nowMs - atMs;
    if (lateMs >= 0) {
      if (name === 'total' || lateMs <= LATE_WAKE_MS || this.#isForgiven) return name;
      this.#silentSinceMs = nowMs;
      this.#isForgiven = true;
    }
    this.#lookAtMs = this.#nextLookMs(nowMs);
    return null;
  }

  #nextLookMs(nowMs: number): number {
    return Math.min(this.#next().atMs, nowMs + this.#limits.stallTimeoutMs);
  }

  #next(): { name: DeadlineName; atMs: number } {
    const totalAtMs = this.#startedMs + this.#limits.totalTimeoutMs;
    const silenceMs = this.#hasFirstToken ? this.#limits.stallTimeoutMs : this.#limits.firstTokenTimeoutMs;
    const silentAtMs = this.#silentSinceMs + silenceMs;
    if (totalAtMs <= silentAtMs) return { name: 'total', atMs: totalAtMs };
    return { name: this.#hasFirstToken ? 'stall' : 'first_token', atMs: silentAtMs };
  }
}
