// So many slots, in each of which an answer takes its own time, whatever else runs: what a pool of such servers can do at
// best is known exactly. The others wait, first come, first served.

import type { Job, Pace, PaceEvents } from './slot-pace.ts';

export interface TimedOptions {
  readonly slots: number;
  /** Mean time that an answer takes. */
  readonly answerMs: number;
}

interface Running {
  readonly durationMs: number;
  readonly startedAtMs: number;
  timer: NodeJS.Timeout | null;
}

/** Parts of an answer. */
const PIECES = 4;

export class TimedPace implements Pace {
  slowness = 1;
  readonly #options: TimedOptions;
  readonly #events: PaceEvents;
  readonly #waiting = new Set<Job>();
  readonly #running = new Map<Job, Running>();

  constructor(options: TimedOptions, events: PaceEvents) {
    this.#options = options;
    this.#events = events;
  }

  get running(): number {
    return this.#running.size;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  add(job: Job): void {
    this.#waiting.add(job);
    this.#fillSlots();
  }

  remove(job: Job): void {
    this.#waiting.delete(job);
    const running = this.#running.get(job);
    if (running?.timer) clearTimeout(running.timer);
    if (this.#running.delete(job)) this.#fillSlots();
  }

  #fillSlots(): void {
    for (const job of this.#waiting) {
      if (this.#running.size >= this.#options.slots) return;
      this.#waiting.delete(job);
      const durationMs = this.#options.answerMs * this.slowness * job.length;
      const running = { durationMs, startedAtMs: performance.now(), timer: null };
      this.#running.set(job, running);
      this.#events.started(job, 0);
      this.#events.prefilled(job.prompt.tokens);
      this.#events.begun(job);
      this.#schedule(job, running, 1);
    }
  }

  #schedule(job: Job, running: Running, piece: number): void {
    // From the start on: timers that are late do not add up.
    const dueMs = running.startedAtMs + (running.durationMs * piece) / PIECES;
    const run = () => {
      if (piece === PIECES) {
        this.#running.delete(job);
        this.#events.done(job);
        this.#fillSlots();
      } else {
        this.#events.continued(job);
        this.#schedule(job, running, piece + 1);
      }
    };
    running.timer = setTimeout(run, Math.max(0, dueMs - performance.now()));
  }
}
