// One model server behind its gate: a p-queue whose concurrency is how many requests the server may have in
// flight. What requests end with decides whether the endpoint gets more of them.
//
// (E1) Nothing starts here while the endpoint is not up: what waits in the queue ends as interrupted.
// (E2) A refused or dead connection takes the endpoint out at once; a probe brings it back, later each time it
//      dies again without having answered anything.
// (E3) A full server (429, 503) is a healthy one: its queue pauses for as long as it asked.

import PQueue from 'p-queue';
import type { ModelFailure } from '../domain/failure.ts';
import type { GenerationOutcome } from '../domain/generation.ts';
import type { Clock } from '../time.ts';
import type { EndpointCandidate } from './candidates.ts';

export type EndpointState =
  | { readonly phase: 'unknown' }
  | { readonly phase: 'up'; readonly models: readonly string[]; readonly defaultModel: string | null }
  | { readonly phase: 'down'; readonly reason: string; readonly probeAtMs: number };

/** Ambiguous failures in a row after which the endpoint is taken out. */
const AMBIGUOUS_LIMIT = 5;
/** Pause after an overload that named no time, in milliseconds. */
const OVERLOAD_PAUSE_MS = 1_000;
/** First and longest wait before a dead endpoint is probed again, in milliseconds. */
const PROBE_MIN_MS = 500;
const PROBE_MAX_MS = 5_000;
/** Wait before a misconfigured endpoint is looked at again, in milliseconds. */
const MISCONFIGURED_PROBE_MS = 30_000;

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
    return (this.#queue.pending + this.#queue.size) / this.window;
  }

  /** The backlog stays with the scheduler, which can still reorder it: only a few may wait here. */
  get hasRoom(): boolean {
    const waitingMax = Math.max(2, Math.floor(this.window / 8));
    return this.#queue.pending + this.#queue.size < this.window + waitingMax && !this.#queue.isPaused;
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

  /** Runs one request through the gate and learns from how it ends. */
  async run(request: () => Promise<GenerationOutcome>): Promise<GenerationOutcome> {
    const outcome = await this.#queue.add(async () => {
      if (this.#state.phase !== 'up') return this.#interrupted();
      const ending = await request();
      // Within the task: when it returns, the queue starts what waits before anybody else gets to know.
      this.#learn(ending);
      return ending;
    });
    this.#options.onChange(this);
    return outcome;
  }

  markUp(models: readonly string[]): void {
    const defaultModel = this.#configuredModel ?? models[0] ?? null;
    this.#setState({ phase: 'up', models, defaultModel });
  }

  markDown(reason: string, probeInMs: number): void {
    this.#setState({ phase: 'down', reason, probeAtMs: this.#options.clock.monotonicMs() + probeInMs });
    // What waits in a pause is set free: nobody knows whether this server comes back.
    if (this.#pause) this.#resume();
  }

  stop(): void {
    this.#pause?.abort();
    this.#pause = null;
    this.#queue.pause();
    this.#queue.clear();
  }

  #interrupted(): ModelFailure {
    const message = `${this.name} went away before the request was sent.`;
    return { kind: 'failure', class: 'hard', code: 'generation_unreachable', message, retryAfterMs: null };
  }

  #learn(outcome: GenerationOutcome): void {
    if (outcome.kind === 'success') {
      this.#failuresInRow = 0;
      this.#deathsInRow = 0;
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
        this.markDown(outcome.message, MISCONFIGURED_PROBE_MS);
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
