// Looks at the endpoints from time to time: at those that are up to learn what they serve and how full they are, at those
// that are out to bring them back, at ports where nobody was so far to find who has come.
//
// (L1) An endpoint is looked at by one look at a time, and none waits for another's.
// (L2) Nothing is looked at after stop(), and what was under way is broken off.

import type { ModelFailure } from '../domain/failure.ts';
import type { ModelAnswer } from '../domain/generation.ts';
import type { ServerReport } from '../domain/server-kind.ts';
import type { Clock } from '../time.ts';
import type { Endpoint } from './endpoint.ts';

export interface EndpointWatchOptions {
  readonly endpoints: readonly Endpoint[];
  /** What the server says of itself. */
  readonly inspect: (endpoint: Endpoint, signal: AbortSignal) => Promise<ServerReport | ModelFailure>;
  /** One tiny completion: whether the server really answers. */
  readonly tryOut: (endpoint: Endpoint, signal: AbortSignal) => Promise<ModelAnswer | ModelFailure>;
  readonly clock: Clock;
  readonly onSurprise: (endpoint: Endpoint, error: unknown) => void;
}

/** How often it is asked whether somebody is to be looked at, in milliseconds. */
const TICK_MS = 250;
/** Between two looks at a port where nobody is, in milliseconds. */
const SCAN_INTERVAL_MS = 2_000;
/** Between two looks at an endpoint that is up, in milliseconds. */
const REFRESH_INTERVAL_MS = 5_000;
/** A server on a port that the settings do not name counts as stopped for good after so long, in milliseconds. */
const GONE_AFTER_MS = 60_000;

export class EndpointWatch {
  readonly #options: EndpointWatchOptions;
  readonly #stopped = new AbortController();
  readonly #looking = new Map<Endpoint, Promise<void>>();
  readonly #nextAtMs = new Map<Endpoint, number>();
  readonly #refusedSinceMs = new Map<Endpoint, number>();
  #ticking: Promise<void> = Promise.resolve();

  constructor(options: EndpointWatchOptions) {
    this.#options = options;
  }

  /** Resolves when every endpoint was looked at once. */
  async start(): Promise<void> {
    this.#lookAtDue();
    await Promise.all(this.#looking.values());
    this.#ticking = this.#tick();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#ticking;
    await Promise.all(this.#looking.values());
  }

  async #tick(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      try {
        await this.#options.clock.sleep(TICK_MS, this.#stopped.signal);
      } catch {
        return;
      }
      this.#lookAtDue();
    }
  }

  /** Those whose time has come, and those that cannot wait. */
  #lookAtDue(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const endpoint of this.#options.endpoints) {
      if (nowMs >= this.#dueAtMs(endpoint) || endpoint.isDoubtful) void this.lookNow(endpoint);
    }
  }

  /** Looks at it, unless a look is under way; resolves when that is over. */
  lookNow(endpoint: Endpoint): Promise<void> {
    const under = this.#looking.get(endpoint);
    if (under || this.#stopped.signal.aborted) return under ?? Promise.resolve();
    const looking = this.#look(endpoint)
      .catch((error) => this.#options.onSurprise(endpoint, error))
      .finally(() => this.#looking.delete(endpoint));
    this.#looking.set(endpoint, looking);
    return looking;
  }

  #dueAtMs(endpoint: Endpoint): number {
    return endpoint.phase === 'down' ? endpoint.lookAtMs : (this.#nextAtMs.get(endpoint) ?? 0);
  }

  async #look(endpoint: Endpoint): Promise<void> {
    const { inspect, tryOut, clock } = this.#options;
    const { signal } = this.#stopped;
    const intervalMs = endpoint.phase === 'absent' ? SCAN_INTERVAL_MS : REFRESH_INTERVAL_MS;
    this.#nextAtMs.set(endpoint, clock.monotonicMs() + intervalMs);
    const report = await inspect(endpoint, signal);
    if (signal.aborted) return;
    if (report.kind === 'report') {
      this.#refusedSinceMs.delete(endpoint);
      endpoint.saw(report);
      const isToBeTried = endpoint.phase === 'trial' || endpoint.isDoubtful;
      // Without a model there is nothing to ask: it stays as it is until it has one.
      if (isToBeTried && endpoint.models.toTry !== null) endpoint.tried(await tryOut(endpoint, signal));
    } else {
      endpoint.missed(report);
      this.#forgetGone(endpoint, report);
    }
  }

  #forgetGone(endpoint: Endpoint, failure: ModelFailure): void {
    if (endpoint.isExpected || endpoint.phase !== 'down' || !failure.isRefused) return;
    const nowMs = this.#options.clock.monotonicMs();
    const sinceMs = this.#refusedSinceMs.get(endpoint) ?? nowMs;
    this.#refusedSinceMs.set(endpoint, sinceMs);
    if (nowMs - sinceMs < GONE_AFTER_MS) return;
    this.#refusedSinceMs.delete(endpoint);
    endpoint.forget();
  }
}
