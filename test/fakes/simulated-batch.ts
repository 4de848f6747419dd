// A batch in simulated time: lines are retrieved at a steady rate as far as the horizon allows, and a row of model servers
// takes them from the book, each so many ahead of the one it reads. The unit of time is that of costs.

import type { ContextOrder } from '../../src/domain/context-order.ts';
import type { Plan, PlanInput } from '../../src/planning/plan.ts';
import { planLines } from '../../src/planning/plan-lines.ts';
import { RunBook } from '../../src/planning/run-book.ts';
import { planLineOf, TOKEN_COSTS } from './planned-row.ts';
import { ENDPOINTS, ServerRow } from './zipf-sets.ts';

/** Lines that a server has in hand. */
const WINDOW = 32;

export interface SimulatedBatch {
  readonly sets: readonly (readonly string[])[];
  readonly contextOrder: ContextOrder;
  /** Between two retrieved lines. */
  readonly arrivalInterval: number;
  /** No line is retrieved that is so far behind the oldest one not taken. */
  readonly horizon: number;
  /** What planning takes, a line. */
  readonly planTime: number;
}

export class BatchSimulation {
  readonly row = new ServerRow();
  /** Takes that found nothing while lines were held. */
  emptyTakes = 0;
  /** Lines of all plans. */
  plannedLines = 0;
  /** When the last server was done. */
  endedAt = 0;
  readonly #batch: SimulatedBatch;
  readonly #book: RunBook<number>;
  readonly #windows: string[][][] = Array.from({ length: ENDPOINTS }, () => []);
  readonly #readAt = new Float64Array(ENDPOINTS).fill(Number.POSITIVE_INFINITY);
  readonly #isTaken: Uint8Array;
  #oldest = 0;
  #retrieved = 0;
  #retrievalAt = 0;
  #plan: { readonly at: number; readonly finish: () => void } | null = null;
  #now = 0;

  constructor(batch: SimulatedBatch) {
    this.#batch = batch;
    this.#isTaken = new Uint8Array(batch.sets.length);
    this.#book = new RunBook<number>({
      contextOrder: batch.contextOrder,
      tokenCosts: TOKEN_COSTS,
      planLineOf: (line) => planLineOf(batch.sets[line] ?? []),
      plan: (input) => this.#makePlan(input),
    });
    for (let endpoint = 0; endpoint < ENDPOINTS; endpoint++) this.#book.join(`${endpoint}`, 1);
  }

  async run(): Promise<this> {
    for (;;) {
      const retrievalAt = this.#canRetrieve()
        ? Math.max(this.#retrievalAt, this.#now)
        : Number.POSITIVE_INFINITY;
      const planAt = this.#plan?.at ?? Number.POSITIVE_INFINITY;
      const readAt = Math.min(...this.#readAt);
      const next = Math.min(retrievalAt, planAt, readAt);
      if (next === Number.POSITIVE_INFINITY) return this;
      this.#now = next;
      if (next === planAt) await this.#finishPlan();
      else if (next === retrievalAt) this.#retrieve();
      else this.#finishReading(this.#readAt.indexOf(readAt));
      for (let endpoint = 0; endpoint < ENDPOINTS; endpoint++) this.#fill(endpoint);
    }
  }

  #canRetrieve(): boolean {
    while (this.#isTaken[this.#oldest] === 1) this.#oldest += 1;
    return this.#retrieved < this.#batch.sets.length && this.#retrieved - this.#oldest < this.#batch.horizon;
  }

  #retrieve(): void {
    this.#book.add(this.#retrieved);
    this.#retrieved += 1;
    this.#retrievalAt = this.#now + this.#batch.arrivalInterval;
  }

  #makePlan(input: PlanInput): Promise<Plan> | Plan {
    const lines = input.offsets.length - 1;
    this.plannedLines += lines;
    const plan = planLines(input);
    if (this.#batch.planTime === 0) return plan;
    const { promise, resolve } = Promise.withResolvers<Plan>();
    this.#plan = { at: this.#now + lines * this.#batch.planTime, finish: () => resolve(plan) };
    return promise;
  }

  async #finishPlan(): Promise<void> {
    this.#plan?.finish();
    this.#plan = null;
    // The book hears of it within this turn of the event loop.
    await new Promise(setImmediate);
  }

  #finishReading(endpoint: number): void {
    this.#windows[endpoint]?.shift();
    this.#read(endpoint);
    this.endedAt = this.#now;
  }

  /** Begins with the first line of the window. */
  #read(endpoint: number): void {
    const prompt = this.#windows[endpoint]?.[0];
    this.#readAt[endpoint] = prompt ? this.#now + this.row.read(endpoint, prompt) : Number.POSITIVE_INFINITY;
  }

  #fill(endpoint: number): void {
    const window = this.#windows[endpoint] ?? [];
    while (window.length < WINDOW && this.#book.size > 0) {
      const taken = this.#book.takeFor(`${endpoint}`);
      if (!taken) {
        this.emptyTakes += 1;
        return;
      }
      this.#isTaken[taken.line] = 1;
      const set = this.#batch.sets[taken.line] ?? [];
      window.push(Array.from(taken.ranks, (rank) => set[rank] ?? ''));
      if (window.length === 1) this.#read(endpoint);
    }
  }
}
