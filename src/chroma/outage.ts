// Whether retrieval fails for everybody: then lines wait, and it is nobody's failure.
//
// 1. A failed call is not believed: a probe of our own decides whether it is an outage. So a question that fails by
//    itself has its own failure, also in bad times.
// 2. While it lasts, it is probed; the first probe that succeeds ends it. The first failed call begins it, at once.
// 3. What waits longer than `maxWaitMs` since the beginning waits no more, and neither does what comes later: it makes its
//    limited attempts and fails, until the outage ends.

import type { BaseLogger } from 'pino';
import { type Clock, fullJitterMs } from '../time.ts';

/** What does not work, and why. */
export interface OutageCause {
  readonly dependency: 'chroma' | 'embedder' | 'collection';
  /** One sentence without its full stop. */
  readonly message: string;
}

export interface OutageOptions {
  /** What is the matter; null: all works. Must not reject. */
  readonly probe: () => Promise<OutageCause | null>;
  readonly maxWaitMs: number;
  readonly clock: Clock;
  readonly log: BaseLogger;
  /** Aborted when the service stops. */
  readonly signal: AbortSignal;
}

interface Open {
  cause: OutageCause;
  readonly sinceMs: number;
  isOverdue: boolean;
  /** Aborted when it has passed. */
  readonly ended: AbortController;
}

const probeBaseMs = 250;
const probeCapMs = 2_000;

export class Outage {
  readonly #options: OutageOptions;
  #open: Open | null = null;
  #looking: Promise<boolean> | null = null;
  #change = Promise.withResolvers<void>();

  constructor(options: OutageOptions) {
    this.#options = options;
  }

  /** null: none. */
  get cause(): OutageCause | null {
    return this.#open?.cause ?? null;
  }

  /** For so long; 0: none. */
  get durationMs(): number {
    return this.#open === null ? 0 : this.#options.clock.monotonicMs() - this.#open.sinceMs;
  }

  /** Resolves when calls may be made: at once where nothing is wrong, or where waiting has been in vain. */
  async passed(): Promise<void> {
    while (this.#open !== null && !this.#open.isOverdue && !this.#options.signal.aborted) {
      await this.#change.promise;
    }
  }

  /** Whether a call that failed did so because of an outage: then it is to be made again once that has passed. */
  isToBlame(): Promise<boolean> {
    if (this.#open !== null) return Promise.resolve(!this.#open.isOverdue);
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  async #look(): Promise<boolean> {
    const cause = await this.#options.probe();
    if (cause === null || this.#options.signal.aborted) return false;
    const { clock, log } = this.#options;
    const open: Open = {
      cause,
      sinceMs: clock.monotonicMs(),
      isOverdue: false,
      ended: new AbortController(),
    };
    this.#open = open;
    log.error(cause, 'retrieval does not work: lines wait for it');
    void this.#watch(open);
    void this.#limit(open);
    return true;
  }

  async #watch(open: Open): Promise<void> {
    const { clock, log, probe, signal } = this.#options;
    for (let failures = 0; ; failures += 1) {
      // Half of the wait at least: jitter alone may probe without a pause.
      const waitMs = fullJitterMs(failures, probeBaseMs, probeCapMs) / 2 + probeBaseMs / 2;
      const isStopped = await clock.sleep(waitMs, signal).then(
        () => false,
        () => true,
      );
      const cause = isStopped ? null : await probe();
      if (cause === null) break;
      open.cause = cause;
    }
    const durationMs = Math.round(this.durationMs);
    this.#open = null;
    open.ended.abort();
    this.#changed();
    if (!signal.aborted) log.info({ durationMs }, 'retrieval works again');
  }

  async #limit(open: Open): Promise<void> {
    const { clock, log, maxWaitMs, signal } = this.#options;
    await clock.sleep(maxWaitMs, AbortSignal.any([signal, open.ended.signal])).catch(() => {});
    if (this.#open !== open || signal.aborted) return;
    open.isOverdue = true;
    log.error({ ...open.cause, maxWaitMs }, 'retrieval has not worked for too long: lines fail from now on');
    this.#changed();
  }

  #changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}
