// The gate of an endpoint: a p-queue whose concurrency is the window. Few wait here: the backlog stays with the
// scheduler, which can still reorder it, and what waits can be handed back unsent at any time.
//
// (G1) Generation goes before digests: it finds room however many of them wait, and passes them.
// (G2) A digest that waits is passed by as many as the gate holds, and no more: whoever answers from digests needs them, and
//      others may have answers to make without end.

import PQueue from 'p-queue';
import { Bag, type BagMember } from '../bag.ts';
import type { CallStage } from '../domain/call-stage.ts';
import type { Clock } from '../time.ts';

/** The request never left: nobody is to blame. */
export interface NotSent {
  readonly kind: 'not_sent';
}

/** What a request takes, and what it is for. */
export interface GateRequest {
  readonly tokens: number;
  readonly stage: CallStage;
}

interface WaitingRequest extends BagMember, GateRequest {
  /** Hands it back. */
  readonly release: () => void;
}

export const NOT_SENT: NotSent = { kind: 'not_sent' };

export class Gate {
  /** Tokens that may be in hand here, prompts and answers together; null: no limit. One request alone always may. */
  tokensMax: number | null = null;
  readonly #clock: Clock;
  readonly #queue: PQueue;
  readonly #waiting = new Bag<WaitingRequest>();
  /** The pause that an overloaded server asked for; null: none now. */
  #pause: AbortController | null = null;
  #tokens = 0;
  /** Requests that have come so far. */
  #come = 0;

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

  /** Whether one more may run or wait. */
  hasRoom(request: GateRequest): boolean {
    return this.#takes(this.#capacity, request);
  }

  /** Whether one more would run at once. */
  isIdle(request: GateRequest): boolean {
    return this.#takes(this.size, request);
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
  async run<Ending>(send: () => Promise<Ending>, request: GateRequest): Promise<Ending | NotSent> {
    this.#tokens += request.tokens;
    try {
      return await this.#enqueue(send, request);
    } finally {
      this.#tokens -= request.tokens;
    }
  }

  #enqueue<Ending>(send: () => Promise<Ending>, request: GateRequest): Promise<Ending | NotSent> {
    return new Promise((resolve, reject) => {
      const waiting = { ...request, release: () => resolve(NOT_SENT), place: -1 };
      this.#waiting.add(waiting);
      const start = () => {
        this.#waiting.remove(waiting);
        return send();
      };
      this.#queue.add(start, { priority: this.#priorityOf(request) }).then(resolve, reject);
    });
  }

  /** Hands back what waits; what is in flight goes on. */
  releaseWaiting(): void {
    for (const waiting of this.#waiting.members) {
      this.#waiting.remove(waiting);
      waiting.release();
    }
    this.#queue.clear();
  }

  /** In flight and waiting, at most. */
  get #capacity(): number {
    return this.size + Math.max(2, Math.floor(this.size / 8));
  }

  /** The greater goes first: whoever has come first, a digest as if it had come a gateful later. */
  #priorityOf({ stage }: GateRequest): number {
    this.#come += 1;
    return -(this.#come + (stage === 'rag' ? this.#capacity : 0));
  }

  /** Digests that wait are not in the way of an answer. */
  #takes(requestsMax: number, { tokens, stage }: GateRequest): boolean {
    let ahead = this.inFlight + this.waiting;
    let tokensAhead = this.#tokens;
    for (const waiting of stage === 'generation' ? this.#waiting : []) {
      if (waiting.stage === 'generation') continue;
      ahead -= 1;
      tokensAhead -= waiting.tokens;
    }
    const fits = this.tokensMax === null || tokensAhead === 0 || tokensAhead + tokens <= this.tokensMax;
    return !this.isClosed && ahead < requestsMax && fits;
  }
}
