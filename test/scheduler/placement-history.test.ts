// Whatever comes, ends, is taken back, drained or asked for patience: no line is lost, none is there twice, and none waits
// while nothing runs.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { Endpoint } from '../../src/gpu-pool/endpoint.ts';
import { GpuPool } from '../../src/gpu-pool/gpu-pool.ts';
import { modelFailure } from '../../src/model-server/failures.ts';
import type { Plan, PlanInput } from '../../src/planning/plan.ts';
import { planLines } from '../../src/planning/plan-lines.ts';
import { Placement } from '../../src/scheduler/placement.ts';
import { releaseFollowers } from '../../src/scheduler/stage-state.ts';
import type { LeasedChunk, Work } from '../../src/scheduler/work.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { candidate, NO_GPUS, report } from '../fakes/pool-fixtures.ts';
import { recordingLog } from '../fakes/recording-log.ts';
import { leasedChunk, success, work } from '../fakes/work-fixtures.ts';

const ENDPOINTS = ['a', 'b'] as const;
const BATCHES = ['x', 'y', 'z'] as const;
const KV_TOKENS = 2_000;

const anyStep = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      batch: fc.constantFrom(...BATCHES),
      root: fc.constantFrom(null, 0, 1, 2),
      tokens: fc.constantFrom(50, 400, 1_700, 5_000),
      count: fc.integer({ min: 1, max: 20 }),
      isSuspect: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('start' as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('begin' as const, 'end' as const, 'fail' as const),
      at: fc.nat({ max: 20 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('plan' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('remove' as const),
      batch: fc.constantFrom(...BATCHES),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('drain' as const, 'fill' as const, 'back' as const),
      endpoint: fc.constantFrom(...ENDPOINTS),
    }),
  },
);
type Step = typeof anyStep extends fc.Arbitrary<infer One> ? One : never;

interface Running {
  readonly work: Work;
  /** false: it waits at the gate, and cannot end there. */
  isSent: boolean;
  readonly end: () => void;
}

class World {
  readonly #clock = new ManualClock();
  readonly #pool = new GpuPool({
    candidates: ENDPOINTS.map((name) => candidate(name)),
    gpus: NO_GPUS,
    window: 3,
    inspect: async () => report(['m'], { kvCapacityTokens: KV_TOKENS, server: 'sglang' }),
    tryOut: async () => success,
    clock: this.#clock,
    log: recordingLog().log,
  });
  readonly #placement = new Placement({
    pool: this.#pool,
    plan: (input) => this.#plan(input),
    modelOf: () => null,
    maySuspectRun: () => !this.#running.some((one) => one.work.isSuspect),
  });
  readonly #plans: (() => void)[] = [];
  readonly #inside = new Set<Work>();
  readonly #chunks = new Map<string, LeasedChunk>(BATCHES.map((id) => [id, leasedChunk(id)]));
  #running: Running[] = [];
  #added = 0;

  async open(): Promise<void> {
    await this.#pool.start();
    this.#pool.open();
  }

  async close(): Promise<void> {
    await this.#pool.stop();
  }

  async take(step: Step): Promise<void> {
    if (step.kind === 'add') this.#add(step);
    else if (step.kind === 'start') this.#start();
    else if (step.kind === 'plan') this.#plans.shift()?.();
    else if (step.kind === 'remove') this.#remove(step.batch);
    else if ('at' in step) this.#end(step.kind, step.at);
    else if (step.kind === 'fill') await this.#fill(step.endpoint);
    else this.#pool.find(step.endpoint)?.setDrained(step.kind === 'drain');
    await new Promise(setImmediate);
    assert.equal(this.#placement.lines, this.#inside.size);
  }

  /** All endpoints take lines again, and everything ends. */
  async finish(): Promise<void> {
    for (const name of ENDPOINTS) this.#pool.find(name)?.setDrained(false);
    await this.#clock.advance(600_000);
    while (this.#inside.size > 0 || this.#running.length > 0) {
      this.#plans.shift()?.();
      this.#start();
      assert.ok(this.#running.length > 0, `${this.#inside.size} lines wait, and nothing runs`);
      this.#end('end', 0);
      await new Promise(setImmediate);
    }
    assert.equal(this.#placement.lines, 0);
  }

  #plan(input: PlanInput): Promise<Plan> {
    const { promise, resolve } = Promise.withResolvers<Plan>();
    this.#plans.push(() => resolve(planLines(input)));
    return promise;
  }

  #add({ batch, root, tokens, count, isSuspect }: Extract<Step, { kind: 'add' }>): void {
    for (let one = 0; one < count; one += 1) {
      this.#added += 1;
      const chunk = this.#chunks.get(batch);
      const line = { ...work(this.#added, { ...(chunk && { chunk }) }), isSuspect: isSuspect && one === 0 };
      line.state.tokens = tokens;
      line.passageHashes = root === null ? [] : [`root ${root}`, `own ${this.#added}`];
      const passages = line.passageHashes.map((id) => {
        return { documentId: id, chunk: 0, title: null, source: null, text: id.padEnd(2_000), distance: 0 };
      });
      line.retrieval = { kind: 'success', attempts: 1, collectionGeneration: 1, passages };
      this.#inside.add(line);
      this.#placement.add(line);
    }
  }

  #start(): void {
    for (let next = this.#placement.next(); next !== null; next = this.#placement.next()) {
      const { work: line, place } = next;
      assert.ok(this.#inside.delete(line), 'what comes out was inside, once');
      assert.ok(place !== 'nowhere');
      const isAlone = !line.isSuspect || !this.#running.some((one) => one.work.isSuspect);
      assert.ok(isAlone, 'suspects run one at a time');
      this.#send(line, place);
    }
  }

  #send(line: Work, endpoint: Endpoint): void {
    const { promise, resolve } = Promise.withResolvers<typeof success>();
    const running = { work: line, isSent: false, end: () => resolve(success) };
    this.#running.push(running);
    this.#pool.picked(endpoint);
    const { tokens } = line.state;
    const send = () => {
      running.isSent = true;
      return promise;
    };
    void endpoint.run(send, { tokens, stage: 'generation' }).then((ended) => {
      if (ended.kind !== 'not_sent') return;
      this.#running = this.#running.filter((other) => other !== running);
      this.#comeBack(line);
    });
  }

  #comeBack(line: Work): void {
    releaseFollowers(line.state, false);
    this.#inside.add(line);
    this.#placement.comeBack(line);
  }

  #end(kind: 'begin' | 'end' | 'fail', at: number): void {
    const sent = this.#running.filter(({ isSent }) => isSent);
    const running = sent[at % Math.max(1, sent.length)];
    if (!running) return;
    releaseFollowers(running.work.state, kind !== 'fail');
    if (kind === 'begin') return;
    this.#running = this.#running.filter((other) => other !== running);
    running.end();
    if (kind === 'fail') this.#comeBack(running.work);
  }

  async #fill(name: string): Promise<void> {
    const endpoint = this.#pool.find(name);
    if (endpoint?.isIdle()) await endpoint.run(async () => modelFailure('overload', 'full'));
  }

  #remove(batch: string): void {
    const isOfBatch = (line: Work) => line.chunk.lease.batchId === batch;
    const removed = this.#placement.remove(isOfBatch);
    assert.equal(removed.length, [...this.#inside].filter(isOfBatch).length);
    for (const line of removed) {
      assert.ok(this.#inside.delete(line), 'what is taken back was inside, once');
      assert.equal(line.state.release, null, 'nobody waits for what was taken back');
    }
  }
}

t.test('whatever happens, each line is placed once, or taken back once, and none waits in vain', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { maxLength: 60, size: 'max' }), async (steps) => {
      const world = new World();
      await world.open();
      try {
        for (const step of steps) await world.take(step);
        await world.finish();
      } finally {
        await world.close();
      }
    }),
    { numRuns: 60 },
  );
});
