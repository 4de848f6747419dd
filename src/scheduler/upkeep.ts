// What time does to batches and files: deadlines expire batches, retention deletes them some time after their end, and
// files go when their time is over.
//
// A deadline is counted by the monotonic clock from when it was first seen: a wall clock that jumps expires nothing
// before its time.

import type { Store } from '../store/store.ts';
import { type Clock, unixSeconds } from '../time.ts';
import type { SchedulerLog } from './record-writer.ts';

export interface UpkeepOptions {
  readonly store: Pick<Store, 'expiringBatches' | 'endedBatches' | 'deleteBatch' | 'expireFiles'>;
  readonly clock: Clock;
  readonly log: SchedulerLog;
  /** 0: batches are kept until somebody deletes them. */
  readonly retentionHours: number;
  readonly expire: (batchId: string) => Promise<void>;
}

const DEADLINE_INTERVAL_MS = 1_000;
const RETENTION_INTERVAL_MS = 60_000;
const HOUR_SECONDS = 3600;

export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #stopped = new AbortController();
  /** By batch and deadline, on the monotonic clock. */
  #deadlines = new Map<string, number>();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  start(): void {
    const jobs = [
      this.#repeat(DEADLINE_INTERVAL_MS, () => this.#expireDue()),
      this.#repeat(RETENTION_INTERVAL_MS, () => this.#options.store.expireFiles()),
    ];
    if (this.#options.retentionHours > 0) {
      jobs.push(this.#repeat(RETENTION_INTERVAL_MS, () => this.#deleteOld()));
    }
    this.#running = Promise.all(jobs);
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  async #repeat(intervalMs: number, job: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await job();
      } catch (error) {
        this.#options.log.error({ err: error }, 'upkeep failed; trying again');
      }
      try {
        await this.#options.clock.sleep(intervalMs, this.#stopped.signal);
      } catch {
        return;
      }
    }
  }

  async #expireDue(): Promise<void> {
    const { store, clock, log, expire } = this.#options;
    const seen = new Map<string, number>();
    for (const { id, expiresAt } of await store.expiringBatches()) {
      const key = `${id} ${expiresAt}`;
      const leftMs = Math.max(0, expiresAt * 1000 - clock.now());
      const deadlineMs = this.#deadlines.get(key) ?? clock.monotonicMs() + leftMs;
      seen.set(key, deadlineMs);
      if (clock.monotonicMs() < deadlineMs) continue;
      log.warn({ batch: id }, 'the completion window is over: open lines expire');
      await expire(id);
    }
    this.#deadlines = seen;
  }

  async #deleteOld(): Promise<void> {
    const { store, clock, log, retentionHours } = this.#options;
    const before = unixSeconds(clock) - retentionHours * HOUR_SECONDS;
    for (;;) {
      const [id] = await store.endedBatches(before);
      if (id === undefined || this.#stopped.signal.aborted) return;
      if ((await store.deleteBatch(id)) !== 'deleted') return;
      log.info({ batch: id, retentionHours }, 'batch deleted: its retention time is over');
    }
  }
}
