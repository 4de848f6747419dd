// The gate of an endpoint: a p-queue whose concurrency is the window. Few wait here: the backlog stays with the
// scheduler, which can still reorder it, and what waits can be handed back unsent at any time.

import PQueue from 'p-queue';
import type { Clock } from '../time.ts';

/** The request never left: nobody is to blame. */
export interface NotSent {
  readonly kind: 'not_sent';
}

export const NOT_SENT: NotSent = { kind: 'not_sent' };

export class Gate {
  /** Tokens that may be in hand here, prompts and answers together; null: no limit. One request alone always may. */
  tokensMax: number | null = null;
  readonly #clock: Clock;
  readonly #queue: PQueue;
  /** Hand back the requests that wait. */
  readonly #waiting = new Set<() => void>();
  /** The pause that an overloaded server asked for; null: none now. */
  #pause: AbortController | null = null;
  #tokens = 0;

  /** Closed until open(). */
  constructor(size: number, clock: Clock) {
    this.#clock = clock;
    this.#queue = new PQueue({ concurrency: size, autoStart: false });
  }

  get size(): number {
    return this.#queue.concurrency;
  }

  set size(size: number) {
    if (size !== this.#queue.concurrency) this.#queue.concurrency = size;
  }

  get inFlight(): number {
    return this.#queue.pending;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  get isClosed(): boolean {
    return this.#queue.isPaused;
  }

  /** In flight and waiting, relative to the size: 1 means full. */
  get load(): number {
    return (this.inFlight + this.waiting) / this.size;
  }

  /** Whether one more of so many tokens may run or wait. */
  hasRoom(tokens: number): boolean {
    const waitingMax = Math.max(2, Math.floor(this.size / 8));
    return this.#takes(this.size + waitingMax, tokens);
  }

  /** Whether one more of so many tokens would run at once. */
  isIdle(tokens: number): boolean {
    return this.#takes(this.size, tokens);
  }

  /** In a pause, rather than not opened yet. */
  get isPausing(): boolean {
    return this.#pause !== null;
  }

  /** Also ends a pause. */
  open(): void {
    this.#pause?.abort();
    this.#pause = null;
    this.#queue.start();
  }

  /** For good. */
  close(): void {
    this.#pause?.abort();
    this.#pause = null;
    this.#queue.pause();
    this.releaseWaiting();
  }

  /** Lets nothing through for so long, and hands back what waits. */
  pause(durationMs: number, onOver: () => void): void {
    if (this.isClosed) return;
    this.#queue.pause();
    this.releaseWaiting();
    this.#pause = new AbortController();
    this.#clock.sleep(durationMs, this.#pause.signal).then(
      () => {
        this.open();
        onOver();
      },
      () => {
        // Opened or closed before its time.
      },
    );
  }

  endPause(): void {
    if (this.isPausing) this.open();
  }

  /** Runs the request when its turn comes; `not_sent`: it was handed back before. */
  async run<Ending>(request: () => Promise<Ending>, tokens: number): Promise<Ending | NotSent> {
    const { promise: released, resolve } = Promise.withResolvers<NotSent>();
    const release = () => resolve(NOT_SENT);
    this.#waiting.add(release);
    this.#tokens += tokens;
    const ran = this.#queue.add(() => {
      this.#waiting.delete(release);
      return request();
    });
    try {
      return await Promise.race([ran, released]);
    } finally {
      this.#tokens -= tokens;
    }
  }

  /** Hands back what waits; what is in flight goes on. */
  releaseWaiting(): void {
    for (const release of this.#waiting) release();
    this.#waiting.clear();
    this.#queue.clear();
  }

  #takes(requestsMax: number, tokens: number): boolean {
    const inHand = this.inFlight + this.waiting;
    const fits = this.tokensMax === null || this.#tokens === 0 || this.#tokens + tokens <= this.tokensMax;
    return !this.isClosed && inHand < requestsMax && fits;
  }
}
