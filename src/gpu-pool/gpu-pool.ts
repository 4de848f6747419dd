// The pool: which endpoints there are, which of them are up, and which one gets the next line.

import type { ModelFailure } from '../domain/failure.ts';
import type { Clock } from '../time.ts';
import type { EndpointCandidate } from './candidates.ts';
import { Endpoint } from './endpoint.ts';

/** How a look at a server ends: the chat models it serves, or why it cannot be used. */
type ProbeOutcome = { readonly kind: 'models'; readonly models: readonly string[] } | ModelFailure;

interface PoolLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface GpuPoolOptions {
  readonly candidates: readonly EndpointCandidate[];
  /** Requests that each endpoint may have in flight. */
  readonly window: number;
  readonly probe: (url: string) => Promise<ProbeOutcome>;
  readonly clock: Clock;
  readonly log: PoolLog;
}

/** How often every candidate that is not up is looked at, in milliseconds. */
const SCAN_INTERVAL_MS = 2_000;
/** How often an endpoint that is up is asked for its models again, in milliseconds. */
const REFRESH_INTERVAL_MS = 15_000;

export class GpuPool {
  readonly endpoints: readonly Endpoint[];
  readonly #options: GpuPoolOptions;
  readonly #stopped = new AbortController();
  readonly #refreshAtMs = new Map<Endpoint, number>();
  readonly #phases = new Map<Endpoint, string>();
  readonly #pickedAt = new Map<Endpoint, number>();
  #picks = 0;
  #onRoom: () => void = () => {};
  #scanning: Promise<void> = Promise.resolve();

  constructor(options: GpuPoolOptions) {
    this.#options = options;
    this.endpoints = options.candidates.map(
      (candidate) =>
        new Endpoint(candidate, {
          window: options.window,
          clock: options.clock,
          onChange: (endpoint) => this.#changed(endpoint),
        }),
    );
  }

  /** Looks at every candidate once, then keeps looking until stop(). */
  async start(): Promise<void> {
    await this.#scan();
    this.#scanning = this.#keepScanning();
  }

  /** Lets requests through: called once the collection is READY. */
  open(): void {
    for (const endpoint of this.endpoints) endpoint.open();
    this.#onRoom();
  }

  /** Calls back whenever some endpoint may have room. */
  whenRoom(onRoom: () => void): void {
    this.#onRoom = onRoom;
  }

  /**
   * The least loaded endpoint with room that serves the model (null: any model), or null when there is none now.
   * Endpoints in `avoid` are taken only when no other one that is up serves the model.
   */
  pick(model: string | null, avoid: ReadonlySet<string>): Endpoint | null {
    const serving = this.endpoints.filter((endpoint) => endpoint.serves(model));
    const preferred = serving.filter((endpoint) => !avoid.has(endpoint.name));
    const eligible = (preferred.length > 0 ? preferred : serving).filter((endpoint) => endpoint.hasRoom);
    const [first] = eligible.sort((a, b) => a.load - b.load || this.#lastPick(a) - this.#lastPick(b));
    if (!first) return null;
    this.#picks += 1;
    this.#pickedAt.set(first, this.#picks);
    return first;
  }

  /** True when all that should be up is, and none of them serves the model: waiting would be in vain. */
  servesNowhere(model: string): boolean {
    const known = this.endpoints.filter((endpoint) => this.#isKnown(endpoint));
    return (
      known.length > 0 &&
      known.every((endpoint) => endpoint.state.phase === 'up') &&
      !known.some((endpoint) => endpoint.serves(model))
    );
  }

  /** Requests that all endpoints that are up may have in flight together. */
  get capacity(): number {
    return this.endpoints.reduce(
      (sum, endpoint) => sum + (endpoint.state.phase === 'up' ? endpoint.window : 0),
      0,
    );
  }

  /** Why nothing can be generated now, in one line; null when something is up and has a model. */
  get waitingFor(): string | null {
    const up = this.endpoints.filter((endpoint) => endpoint.state.phase === 'up');
    if (up.some((endpoint) => endpoint.serves(null))) return null;
    if (up.length > 0) return `a chat model (none at ${up.map((endpoint) => endpoint.name).join(', ')})`;
    const dead = this.endpoints.flatMap((endpoint) =>
      endpoint.state.phase === 'down' && this.#isKnown(endpoint)
        ? [`${endpoint.name}: ${endpoint.state.reason}`]
        : [],
    );
    return dead.length > 0
      ? `a model server to come back (${dead.join('; ')})`
      : `a model server: none answered at ${describeUrls(this.endpoints.map((endpoint) => endpoint.url))}`;
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    for (const endpoint of this.endpoints) endpoint.stop();
    await this.#scanning;
  }

  async #keepScanning(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      try {
        await this.#options.clock.sleep(SCAN_INTERVAL_MS / 4, this.#stopped.signal);
      } catch {
        return;
      }
      await this.#scan();
    }
  }

  async #scan(): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    const due = this.endpoints.filter((endpoint) => nowMs >= this.#dueAtMs(endpoint));
    await Promise.all(due.map((endpoint) => this.#look(endpoint)));
  }

  #dueAtMs(endpoint: Endpoint): number {
    const { state } = endpoint;
    if (state.phase === 'down') return state.probeAtMs;
    return state.phase === 'up' ? (this.#refreshAtMs.get(endpoint) ?? 0) : 0;
  }

  async #look(endpoint: Endpoint): Promise<void> {
    const outcome = await this.#options.probe(endpoint.url);
    if (this.#stopped.signal.aborted) return;
    this.#refreshAtMs.set(endpoint, this.#options.clock.monotonicMs() + REFRESH_INTERVAL_MS);
    if (outcome.kind === 'models') endpoint.markUp(outcome.models);
    // While requests are in flight their own outcomes say more than a probe does.
    else if (endpoint.state.phase !== 'up' || (outcome.class === 'hard' && endpoint.inFlight === 0)) {
      endpoint.markDown(outcome.message, SCAN_INTERVAL_MS);
    }
  }

  /** One log line for every change of phase; a port where nothing ever answered is no endpoint and says nothing. */
  #changed(endpoint: Endpoint): void {
    const { state } = endpoint;
    const before = this.#phases.get(endpoint);
    if (state.phase !== before && (before !== undefined || state.phase === 'up')) {
      this.#phases.set(endpoint, state.phase);
      const fields = { endpoint: endpoint.name, url: endpoint.url };
      if (state.phase === 'up') {
        this.#options.log.info({ ...fields, models: state.models }, 'endpoint is up');
      } else if (state.phase === 'down') {
        this.#options.log.warn({ ...fields, reason: state.reason }, 'endpoint is down');
      }
    }
    this.#onRoom();
  }

  /** Named by the settings, or seen up before: not just a port that may be empty. */
  #isKnown(endpoint: Endpoint): boolean {
    return endpoint.isExpected || this.#phases.has(endpoint);
  }

  #lastPick(endpoint: Endpoint): number {
    return this.#pickedAt.get(endpoint) ?? 0;
  }
}

function describeUrls(urls: readonly string[]): string {
  const [first, last] = [urls[0] ?? 'no address', urls.at(-1)];
  return urls.length <= 2 ? urls.join(', ') : `${first} … ${last}`;
}
