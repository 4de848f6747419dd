// When no endpoint of the RAG model is up, lines wait for one without spending attempts, while what has its digest is
// answered. They do not wait for ever: an outage that has lasted too long fails them, and those that come while it lasts.
// The looks of the pool at its endpoints, every second or two, are the tries that are made meanwhile.

import type { Clock } from '../time.ts';

export interface RagOutageOptions {
  readonly limitMs: number;
  readonly clock: Clock;
  /** The models that lines wait for now; null: any. */
  readonly wanted: () => Iterable<string | null>;
  readonly isDown: (model: string | null) => boolean;
  /** Lines that wait for this model have waited long enough. */
  readonly onOver: (model: string | null) => void;
}

/** Between two looks while there is an outage, in milliseconds. */
const INTERVAL_MS = 250;

export class RagOutage {
  readonly #options: RagOutageOptions;
  readonly #sinceMs = new Map<string | null, number>();
  readonly #stopped = new AbortController();
  #isWatching = false;

  constructor(options: RagOutageOptions) {
    this.#options = options;
  }

  /** Lines have come, or an endpoint has changed. */
  check(): void {
    const { limitMs, clock, wanted, isDown, onOver } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const model of this.#sinceMs.keys()) if (!isDown(model)) this.#sinceMs.delete(model);
    for (const model of wanted()) {
      if (!isDown(model)) continue;
      const sinceMs = this.#sinceMs.get(model) ?? nowMs;
      this.#sinceMs.set(model, sinceMs);
      if (nowMs - sinceMs >= limitMs) onOver(model);
    }
    if (this.#sinceMs.size > 0) this.#watch();
  }

  stop(): void {
    this.#stopped.abort();
  }

  #watch(): void {
    if (this.#isWatching || this.#stopped.signal.aborted) return;
    this.#isWatching = true;
    this.#options.clock.sleep(INTERVAL_MS, this.#stopped.signal).then(
      () => {
        this.#isWatching = false;
        this.check();
      },
      () => {
        // Stopped.
      },
    );
  }
}
