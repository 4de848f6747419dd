// A paused batch stands still: once what had been started has ended, none of its questions is asked until it is resumed.

import { strict as assert } from 'node:assert';
import { until } from '../fakes/until.ts';
import type { ChaosService } from './chaos-service.ts';
import type { KnownBatch } from './known-batch.ts';
import { type BatchObject, type Oracle, whole } from './oracle.ts';

export class PauseWatch {
  readonly #service: ChaosService;
  readonly #oracle: Oracle;
  /** Calls of the batch's lines when it had come to rest. */
  readonly #callsAtRest = new Map<KnownBatch, number>();

  constructor(service: ChaosService, oracle: Oracle) {
    this.#service = service;
    this.#oracle = oracle;
  }

  /** Waits until what was started has ended. */
  async began(known: KnownBatch): Promise<void> {
    await until('a paused batch to come to rest', async () => {
      const answer = whole(await this.#service.ask('GET', `/batches/${known.id}`));
      const batch = JSON.parse(answer.text) as BatchObject;
      this.#oracle.observe(known, batch);
      return known.status !== 'paused' || batch.line_counts.leased === 0;
    });
    if (known.status === 'paused') this.rests(known);
  }

  /** Nothing of it runs: the process that ran it is dead, or what it had started has ended. */
  rests(known: KnownBatch): void {
    this.#callsAtRest.set(known, this.#calls(known));
  }

  /** Something was asked of it that may wake it. */
  forget(known: KnownBatch): void {
    this.#callsAtRest.delete(known);
  }

  check(known: KnownBatch): void {
    if (known.status !== 'paused') this.forget(known);
    const calls = this.#callsAtRest.get(known);
    if (calls !== undefined) assert.equal(this.#calls(known), calls, `${known.id} runs, though it is paused`);
  }

  #calls(known: KnownBatch): number {
    return known.lines.reduce((sum, { mark }) => sum + this.#oracle.server.callsOf(mark), 0);
  }
}
