// A simulated GPU in real time: its steps follow each other as long as there is something to do.

import { Gpu, type GpuOptions, type Step } from './slot-gpu.ts';
import type { Job, Pace, PaceEvents } from './slot-pace.ts';

export class GpuPace implements Pace {
  slowness = 1;
  readonly #gpu: Gpu<Job>;
  readonly #events: PaceEvents;
  /** null: it is idle. */
  #step: Step<Job> | null = null;
  #stepEndMs = 0;

  constructor(options: GpuOptions, events: PaceEvents) {
    this.#gpu = new Gpu(options);
    this.#events = events;
  }

  get running(): number {
    return this.#gpu.running;
  }

  get waiting(): number {
    return this.#gpu.waiting;
  }

  add(job: Job): void {
    this.#gpu.add(job);
    if (this.#step !== null) return;
    this.#stepEndMs = performance.now();
    this.#beginStep();
  }

  remove(job: Job): void {
    this.#gpu.remove(job);
  }

  #beginStep(): void {
    const step = this.#gpu.step();
    this.#step = step;
    if (step === null) return;
    for (const { request, cachedTokens } of step.admitted) this.#events.started(request, cachedTokens);
    this.#events.prefilled(step.prefilledTokens);
    // From the last step's end on: timers that are late do not add up.
    this.#stepEndMs += step.durationMs * this.slowness;
    setTimeout(() => this.#endSteps(), Math.max(0, this.#stepEndMs - performance.now()));
  }

  #endSteps(): void {
    for (const job of this.#step?.begun ?? []) this.#events.begun(job);
    for (const job of this.#step?.done ?? []) this.#events.done(job);
    this.#beginStep();
  }
}
