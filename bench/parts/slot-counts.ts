// What a simulated model server counts: what came to it, what it did, and how much of the time it had something to do.

export interface ServerCounts {
  readonly requests: number;
  readonly answered: number;
  /** Requests whose connection was gone before their answer was complete. */
  readonly aborted: number;
  /** Requests answered with an error. */
  readonly refused: number;
  readonly prefilledTokens: number;
  /** Of the prompts of requests that got a slot: found in the cache. */
  readonly cachedTokens: number;
  /** Time during which any slot was in use. */
  readonly busyMs: number;
  /** Sum over the slots of the time that they were in use. */
  readonly busySlotMs: number;
  readonly longestQueue: number;
  /** Unix times; null: none has come. */
  readonly firstRequestAtMs: number | null;
  readonly lastRequestAtMs: number | null;
}

const NO_COUNTS: ServerCounts = {
  requests: 0,
  answered: 0,
  aborted: 0,
  refused: 0,
  prefilledTokens: 0,
  cachedTokens: 0,
  busyMs: 0,
  busySlotMs: 0,
  longestQueue: 0,
  firstRequestAtMs: null,
  lastRequestAtMs: null,
};

type Counter = 'answered' | 'aborted' | 'refused' | 'prefilledTokens' | 'cachedTokens';

export class SlotCounts {
  #counts = { ...NO_COUNTS };
  #usedSlots = 0;
  #changedAtMs = 0;

  /** Until now. */
  get all(): ServerCounts {
    this.#settle();
    return { ...this.#counts };
  }

  reset(): void {
    this.#counts = { ...NO_COUNTS };
    this.#changedAtMs = performance.now();
  }

  request(): void {
    this.#counts.requests += 1;
    this.#counts.lastRequestAtMs = Date.now();
    this.#counts.firstRequestAtMs ??= this.#counts.lastRequestAtMs;
  }

  add(counter: Counter, amount = 1): void {
    this.#counts[counter] += amount;
  }

  queue(waiting: number): void {
    this.#counts.longestQueue = Math.max(this.#counts.longestQueue, waiting);
  }

  /** One more slot is in use. */
  take(): void {
    this.#settle();
    this.#usedSlots += 1;
  }

  /** One is free again. */
  leave(): void {
    this.#settle();
    this.#usedSlots -= 1;
  }

  #settle(): void {
    const nowMs = performance.now();
    const passedMs = nowMs - this.#changedAtMs;
    this.#counts.busySlotMs += passedMs * this.#usedSlots;
    if (this.#usedSlots > 0) this.#counts.busyMs += passedMs;
    this.#changedAtMs = nowMs;
  }
}
