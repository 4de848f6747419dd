// Renews the leases of what is in hand, for as long as the scheduler runs.

import type { Lease } from '../domain/chunk.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../time.ts';
import type { StoreTrouble } from './store-trouble.ts';

export interface LeaseKeeperOptions {
  readonly store: Pick<Store, 'renewLeases'>;
  readonly clock: Clock;
  readonly trouble: StoreTrouble;
  readonly leases: () => Lease[];
  readonly onLost: (leases: readonly Lease[]) => void;
  /** After each renewal: a lease that ran out elsewhere makes its chunk claimable without any other sign. */
  readonly onRenewed: () => void;
}

/** A third of what a lease lasts leaves two tries before it runs out. */
const RENEW_INTERVAL_MS = 5_000;

export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #stopped = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #isHolding = true;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  /** false: our leases could not be renewed. They may run out, and what is claimed then would be what we have. */
  get isHolding(): boolean {
    return this.#isHolding;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, trouble, store, leases, onLost, onRenewed } = this.#options;
    for (;;) {
      try {
        const lost = await store.renewLeases(leases());
        if (lost.length > 0) onLost(lost);
        this.#isHolding = true;
        onRenewed();
      } catch (error) {
        this.#isHolding = false;
        trouble.failed(error);
      }
      try {
        await clock.sleep(RENEW_INTERVAL_MS, this.#stopped.signal);
      } catch {
        return;
      }
    }
  }
}
