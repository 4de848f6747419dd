// One model server behind its gate: a p-queue whose concurrency is how many requests the server may have in
// flight. What requests end with decides whether the endpoint gets more of them.
//
// (E1) Nothing starts or waits here while the endpoint is down or paused: what waited is handed back unsent.
// (E2) A refused or dead connection takes the endpoint out at once; a probe brings it back, later each time it
//      dies again without having answered anything.
// (E3) A full server (429, 503) is a healthy one: its queue pauses for as long as it asked.

import PQueue from 'p-queue';
import type { GenerationOutcome } from '../domain/generation.ts';
import type { Clock } from '../time.ts';
import type { EndpointCandidate } from './candidates.ts';

export type EndpointState =
  | { readonly phase: 'unknown' }
  | { readonly phase: 'up'; readonly models: readonly string[]; readonly defaultModel: string | null }
  | { readonly phase: 'down'; readonly reason: string; readonly probeAtMs: number };

/** Ambiguous failures in a row after which the endpoint is taken out. */
const AMBIGUOUS_LIMIT = 5;
/** Misconfigured answers in a row after which an endpoint that has answered is taken out. */
const MISFIT_LIMIT = 3;
/** Pause after an overload that named no time, in milliseconds. */
const OVERLOAD_PAUSE_MS = 1_000;
/** First and longest wait before a dead endpoint is probed again, in milliseconds. */
const PROBE_MIN_MS = 500;
const PROBE_MAX_MS = 5_000;
/** Wait before a misconfigured endpoint is looked at again, in milliseconds. */
const MISCONFIGURED_PROBE_MS = 30_000;

/** The request never left: nobody is to blame. */
export interface NotSent {
  readonly kind: 'not_sent';
}

const NOT_SENT: NotSent = { kind: 'not_sent' };

export interface EndpointOptions {
  readonly window: number;
  readonly clock: Clock;
  /** Called whenever the endpoint may have room again or has changed its state. */
  readonly onChange: (endpoint: Endpoint) => void;
}

export class Endpoint {
  readonly name: string;
  readonly url: string;
  readonly window: number;
  readonly isExpected: boolean;
  readonly #configuredModel: string | null;
  readonly #options: EndpointOptions;
  readonly #queue: PQueue;
  #state: EndpointState = { phase: 'unknown' };
  /** The pause that an overloaded server asked for; null: none now. */
  #pause: AbortController | null = null;
  #failuresInRow = 0;
  #deathsInRow = 0;
  #misfitsInRow = 0;
  /** Since it came up. */
  #hasAnswered = false;
  /** Hand back the requests that wait at the gate. */
  readonly #waiting = new Set<() => void>();

  constructor(candidate: EndpointCandidate, options: EndpointOptions) {
    this.name = candidate.name;
    this.url = candidate.url;
    this.window = options.window;
    this.isExpected = candidate.isExpected;
    this.#configuredModel = candidate.model;
    this.#options = options;
    this.#queue = new PQueue({ concurrency: options.window, autoStart: false });
  }

  get state(): EndpointState {
    return this.#state;
  }

  /** Requests in flight now. */
  get inFlight(): number {
    return this.#queue.pending;
  }

  /** In flight and waiting, relative to the window: 1 means full. */
  get load(): number {
    return (this.#queue.pending + this.#waiting.size) / this.window;
  }

  /** The backlog stays with the scheduler, which can still reorder it: only a few may wait here. */
  get hasRoom(): boolean {
    const waitingMax = Math.max(2, Math.floor(this.window / 8));
    return this.#queue.pending + this.#waiting.size < this.window + waitingMax && !this.#queue.isPaused;
  }

  /** Full, or not opened yet. */
  get isPaused(): boolean {
    return this.#queue.isPaused;
  }

  serves(model: string | null): boolean {
    if (this.#state.phase !== 'up') return false;
    return model === null ? this.#state.defaultModel !== null : this.#state.models.includes(model);
  }

  get defaultModel(): string | null {
    return this.#state.phase === 'up' ? this.#state.defaultModel : null;
  }

  /** Opens the gate: nothing starts before the service is READY. */
  open(): void {
    this.#queue.start();
  }

  /**
   * Runs one request through the gate and learns from how it ends. `not_sent`: the gate closed before its turn came.
   */
  async run(request: () => Promise<GenerationOutcome>): Promise<GenerationOutcome | NotSent> {
    if (this.#state.phase !== 'up') return NOT_SENT;
    const { promise: released, resolve } = Promise.withResolvers<NotSent>();
    const release = () => resolve(NOT_SENT);
    this.#waiting.add(release);
    const ran = this.#queue.add(async () => {
      this.#waiting.delete(release);
      const ending = await request();
      // Within the task: when it returns, the queue starts what waits before anybody else gets to know.
      this.#learn(ending);
      return ending;
    });
    try {
      return await Promise.race([ran, released]);
    } finally {
      // Also after a surprise: its place is free.
      this.#options.onChange(this);
    }
  }

  /** Hands back what waits at the gate: it may run elsewhere. What is in flight goes on. */
  releaseWaiting(): void {
    for (const release of this.#waiting) release();
    this.#waiting.clear();
    this.#queue.clear();
  }

  markUp(models: readonly string[]): void {
    const defaultModel = this.#configuredModel ?? models[0] ?? null;
    if (this.#state.phase !== 'up') this.#hasAnswered = false;
    this.#setState({ phase: 'up', models, defaultModel });
  }

  markDown(reason: string, probeInMs: number): void {
    this.releaseWaiting();
    if (this.#pause) this.#resume();
    this.#setState({ phase: 'down', reason, probeAtMs: this.#options.clock.monotonicMs() + probeInMs });
  }

  stop(): void {
    this.#pause?.abort();
    this.#pause = null;
    this.#queue.pause();
    this.releaseWaiting();
  }

  #learn(outcome: GenerationOutcome): void {
    if (outcome.kind === 'success') {
      this.#failuresInRow = 0;
      this.#misfitsInRow = 0;
      this.#deathsInRow = 0;
      this.#hasAnswered = true;
      return;
    }
    if (this.#state.phase !== 'up') return;
    switch (outcome.class) {
      case 'hard':
        this.#die(outcome.message);
        break;
      case 'ambiguous':
        this.#failuresInRow += 1;
        if (this.#failuresInRow >= AMBIGUOUS_LIMIT) this.#die(outcome.message);
        break;
      case 'overload':
        this.#pauseFor(outcome.retryAfterMs ?? OVERLOAD_PAUSE_MS);
        break;
      case 'misconfigured':
        this.#misfitsInRow += 1;
        // A server that has answered others may only dislike this one request.
        if (!this.#hasAnswered || this.#misfitsInRow >= MISFIT_LIMIT) {
          this.markDown(outcome.message, MISCONFIGURED_PROBE_MS);
        }
        break;
      case 'request':
      case 'cancelled':
        break;
      default:
        outcome.class satisfies never;
    }
  }

  #die(reason: string): void {
    const waitMs = Math.min(PROBE_MAX_MS, PROBE_MIN_MS * 2 ** this.#deathsInRow);
    this.#deathsInRow += 1;
    this.#failuresInRow = 0;
    this.markDown(reason, waitMs);
  }

  #pauseFor(durationMs: number): void {
    if (this.#queue.isPaused) return;
    this.#queue.pause();
    this.releaseWaiting();
    this.#pause = new AbortController();
    this.#options.clock.sleep(durationMs, this.#pause.signal).then(
      () => this.#resume(),
      () => {
        // Stopped, or resumed before its time.
      },
    );
  }

  #resume(): void {
    this.#pause?.abort();
    this.#pause = null;
    this.#queue.start();
    this.#options.onChange(this);
  }

  #setState(state: EndpointState): void {
    this.#state = state;
    this.#options.onChange(this);
  }
}
