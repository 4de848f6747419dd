// Makes plans: small ones at once, large ones in a thread, so that the event loop goes on.

import { Piscina } from 'piscina';
import type { Plan, PlanInput } from '../planning/plan.ts';
import { planLines } from '../planning/plan-lines.ts';

interface PlannerLog {
  error(fields: object, message: string): void;
}

/** Planned in some two milliseconds at most. */
const LINES_AT_ONCE_MAX = 128;
/** The thread ends when nothing was planned for so long, in milliseconds. */
const IDLE_MS = 60_000;
/** Plans that wait: one for each batch and model that have much to run. */
const WAITING_MAX = 1_000;

export class Planner implements AsyncDisposable {
  readonly #log: PlannerLog;
  readonly #piscina = new Piscina<PlanInput, Plan>({
    filename: new URL('./plan-worker.ts', import.meta.url).href,
    minThreads: 0,
    maxThreads: 1,
    idleTimeout: IDLE_MS,
    maxQueue: WAITING_MAX,
    recordTiming: false,
  });
  #isClosed = false;

  constructor(log: PlannerLog) {
    this.#log = log;
  }

  plan(input: PlanInput): Promise<Plan> | Plan {
    return input.ownCosts.length <= LINES_AT_ONCE_MAX ? planLines(input) : this.#planInThread(input);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#piscina.destroy();
  }

  async #planInThread(input: PlanInput): Promise<Plan> {
    try {
      return await this.#piscina.run(input);
    } catch (error) {
      if (!this.#isClosed) this.#log.error({ err: error }, 'a plan could not be made in a thread');
      return planLines(input);
    }
  }
}
