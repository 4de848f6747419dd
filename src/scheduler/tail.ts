// Minds the end of the work, when endpoints begin to be idle: what waits at a busy gate goes to an idle one, and what takes
// long is hedged. Looked at from time to time, and only while nothing waits for a place.

import type { Endpoint } from '../gpu-pool/endpoint.ts';
import type { GpuPool } from '../gpu-pool/gpu-pool.ts';
import type { Metrics } from '../metrics.ts';
import type { Clock } from '../time.ts';
import { CallBudget } from './call-budget.ts';
import type { Call, Calls } from './calls.ts';
import { isWorthHedging } from './hedging.ts';
import type { Work } from './work.ts';

export interface TailOptions {
  readonly pool: GpuPool;
  readonly calls: Calls;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Whether everything that is left, and can be sent at all, is in flight. */
  readonly isTail: () => boolean;
  readonly hedge: (work: Work, endpoint: Endpoint) => void;
}

/** At most a twentieth of the first calls. */
const HEDGE_BUDGET = { share: 0.05, perSecond: 0, savedAtStart: 0, savedMax: 200 };
/** Between two looks, in milliseconds. */
const INTERVAL_MS = 100;

export class Tail {
  readonly #options: TailOptions;
  readonly #budget: CallBudget;
  readonly #stopped = new AbortController();
  #isWatching = false;

  constructor(options: TailOptions) {
    this.#options = options;
    this.#budget = new CallBudget(HEDGE_BUDGET, options.clock);
  }

  /** A line was sent for the first time. */
  earn(): void {
    this.#budget.earn();
  }

  /** Looks after a while, and again as long as there is something to look at. */
  watch(): void {
    if (this.#isWatching || this.#stopped.signal.aborted) return;
    this.#isWatching = true;
    this.#options.clock.sleep(INTERVAL_MS, this.#stopped.signal).then(
      () => {
        this.#isWatching = false;
        if (this.#options.isTail()) this.#look();
        if (this.#options.calls.lines > 0) this.watch();
      },
      () => {
        // Stopped.
      },
    );
  }

  stop(): void {
    this.#stopped.abort();
  }

  #look(): void {
    const { pool, calls, clock, metrics, hedge } = this.#options;
    const idle = pool.endpoints.filter((endpoint) => endpoint.isIdle());
    if (idle.length === 0) return;
    for (const endpoint of pool.endpoints) {
      if (endpoint.waiting > 0 && idle.some((other) => sharesWork(endpoint, other)))
        endpoint.releaseWaiting();
    }
    for (const call of calls.single) {
      if (call.work.isSuspect) continue;
      const endpoint = bestFor(call, idle, clock.monotonicMs());
      if (!endpoint) continue;
      if (!this.#budget.spend()) return;
      metrics.hedges.inc({ outcome: 'sent' });
      hedge(call.work, endpoint);
    }
  }
}

/** Whether the one could take something of what the other has. */
function sharesWork(busy: Endpoint, idle: Endpoint): boolean {
  return [...idle.roles].some((stage) => busy.roles.has(stage));
}

/** The idle endpoint that would answer soonest, if sooner than the one that is at it. */
function bestFor(call: Call, idle: readonly Endpoint[], nowMs: number): Endpoint | undefined {
  const { stage, state, model } = call;
  const meanMs = ({ figures }: Endpoint) => figures.meanDurationMsOf(stage) ?? 0;
  return idle
    .filter(
      (endpoint) =>
        endpoint !== call.endpoint &&
        !state.avoid.has(endpoint.name) &&
        endpoint.serves(stage, model) &&
        endpoint.isIdle({ tokens: state.tokens, stage }) &&
        isWorthHedging(call, endpoint, nowMs),
    )
    .sort((a, b) => meanMs(a) - meanMs(b) || a.load - b.load)[0];
}
