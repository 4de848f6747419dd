// Which line goes where next: what shares passages stays together, batches share the endpoints by priority, and a line that
// needs much room gets it.

import t, { type Test } from 'tap';
import type { ContextOrder } from '../../src/domain/context-order.ts';
import type { Priority } from '../../src/domain/priority.ts';
import type { ServerKind } from '../../src/domain/server-kind.ts';
import type { Endpoint } from '../../src/gpu-pool/endpoint.ts';
import { GpuPool } from '../../src/gpu-pool/gpu-pool.ts';
import { modelFailure } from '../../src/model-server/failures.ts';
import { planLines } from '../../src/planning/plan-lines.ts';
import { Placement } from '../../src/scheduler/placement.ts';
import type { Work } from '../../src/scheduler/work.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { candidate, NO_GPUS, report } from '../fakes/pool-fixtures.ts';
import { recordingLog } from '../fakes/recording-log.ts';
import { leasedChunk, success, work } from '../fakes/work-fixtures.ts';

interface Wanted {
  readonly names?: readonly string[];
  readonly window?: number;
  readonly kvCapacityTokens?: number | null;
  readonly server?: ServerKind;
}

async function setup(
  t: Test,
  { names = ['a', 'b'], window = 4, kvCapacityTokens = null, server = 'generic' }: Wanted = {},
) {
  const clock = new ManualClock();
  const pool = new GpuPool({
    candidates: names.map((name) => candidate(name)),
    gpus: NO_GPUS,
    window,
    inspect: async () => report(['m'], { kvCapacityTokens, server }),
    tryOut: async () => success,
    clock,
    log: recordingLog().log,
  });
  t.teardown(() => pool.stop());
  await pool.start();
  pool.open();
  const isRunning = { suspect: false };
  const maySuspectRun = () => !isRunning.suspect;
  const placement = new Placement({ pool, plan: planLines, modelOf: () => null, maySuspectRun });
  const running: { work: Work; endpoint: Endpoint; end: () => void }[] = [];
  /** Starts all that can start. */
  const pump = () => {
    for (let next = placement.next(); next !== null; next = placement.next()) {
      const { work: line, place } = next;
      if (place === 'nowhere') throw new Error('there is somebody');
      const { promise, resolve } = Promise.withResolvers<typeof success>();
      const { tokens } = line.state;
      place.run(() => promise, { tokens, stage: 'generation' }).catch(() => {});
      running.push({ work: line, endpoint: place, end: () => resolve(success) });
      pool.picked(place);
    }
  };
  /** Ends them in the order in which they started, each followed by what that makes room for. */
  const runAll = async (): Promise<{ work: Work; endpoint: string }[]> => {
    const ended: { work: Work; endpoint: string }[] = [];
    pump();
    for (let first = running.shift(); first; first = running.shift()) {
      first.end();
      await new Promise(setImmediate);
      ended.push({ work: first.work, endpoint: first.endpoint.name });
      pump();
    }
    return ended;
  };
  return { pool, placement, pump, running, runAll, isRunning };
}

/** A line that found these passages. */
function line(
  number: number,
  passages: readonly string[],
  {
    batch = 'b1',
    contextOrder = 'preserve' as ContextOrder,
    priority = 'normal' as Priority,
    tokens = 100,
    textLength = 20,
  } = {},
): Work {
  const chunk = { ...leasedChunk(batch), contextOrder, priority };
  const item = work(number, { chunk });
  item.state.tokens = tokens;
  item.passageHashes = passages;
  item.retrieval = {
    kind: 'success',
    attempts: 1,
    collectionGeneration: 1,
    passages: passages.map((id) => {
      return {
        documentId: id,
        chunk: 0,
        title: null,
        source: null,
        text: id.padEnd(textLength),
        distance: 0,
      };
    }),
  };
  return item;
}

t.test('lines that share their first passage go to one endpoint, one after the other', async (t) => {
  const { placement, runAll } = await setup(t, { window: 1 });
  for (let number = 0; number < 120; number += 1) {
    placement.add(line(number, [`root ${number % 6}`, `own ${number}`]));
  }
  const ended = await runAll();
  t.equal(ended.length, 120);
  const changes = { a: 0, b: 0 };
  const last = { a: '', b: '' };
  for (const { work: item, endpoint } of ended) {
    const name = endpoint as 'a' | 'b';
    const root = item.passageHashes[0] ?? '';
    if (last[name] !== root) changes[name] += 1;
    last[name] = root;
  }
  // In the order of their coming every line would change it. Those that came last are in no plan at first.
  t.ok(changes.a + changes.b <= 40, `${changes.a + changes.b} changes of the first passage`);
});

t.test(
  'only where a server shares what it has read do the others wait for the first of their group',
  async (t) => {
    for (const server of ['sglang', 'ollama', 'llamacpp', 'vllm', 'generic'] as const) {
      const { placement, pump, running } = await setup(t, { names: ['a'], window: 2, server });
      for (let number = 0; number < 64; number += 1) {
        placement.add(line(number, [`root ${number % 4}`, `own ${number}`], { textLength: 2_000 }));
      }
      pump();
      const roots = new Set(running.map(({ work: item }) => item.passageHashes[0]));
      const isShared = server === 'vllm' || server === 'generic';
      t.equal(roots.size > 1, !isShared, `${server}: ${[...roots].join()}`);
      const leading = running.filter(({ work: item }) => item.state.release !== null);
      t.equal(leading.length, isShared ? 0 : roots.size);
    }
  },
);

t.test('the prompt shows passages in the order that the batch allows', async (t) => {
  for (const contextOrder of ['preserve', 'pin_top', 'full'] as const) {
    const { placement, runAll } = await setup(t);
    for (let number = 0; number < 100; number += 1) {
      const ids = [`top ${number}`, `rare ${number}`, 'common', `kind ${number % 3}`];
      placement.add(line(number, ids, { contextOrder }));
    }
    const orders = (await runAll()).map(({ work: item }) => item.state.passageOrder);
    if (contextOrder === 'preserve') t.ok(orders.every((order) => order === null));
    else t.ok(orders.every((order) => order === null || [...order].sort().join() === '0,1,2,3'));
    if (contextOrder === 'pin_top')
      t.ok(
        orders.every((order) => order?.at(-1) === 0),
        'the best one stands last',
      );
    const begun = orders.filter((order) => order?.[0] === 2 || order?.[0] === 3).length;
    if (contextOrder === 'full') t.ok(begun >= 70, `${begun} prompts begin with what many share`);
  }
});

t.test('batches share the endpoints by their priority, and none waits for another to end', async (t) => {
  const { placement, runAll } = await setup(t, { window: 8 });
  for (const priority of ['low', 'normal', 'high'] as const) {
    for (let number = 0; number < 400; number += 1) {
      placement.add(line(number, [`p${number % 9}`], { batch: priority, priority }));
    }
  }
  const ended = (await runAll()).map(({ work: item }) => item.chunk.priority);
  const count = (priority: string) => ended.slice(0, 420).filter((one) => one === priority).length;
  t.ok(Math.abs(count('high') - 320) <= 10, `${count('high')} of 420 had high priority`);
  t.ok(Math.abs(count('normal') - 80) <= 5, `${count('normal')} normal`);
  t.ok(count('low') >= 15, `${count('low')} low`);
  t.equal(ended.length, 1_200);
});

t.test(
  'a small batch that comes while a huge one runs is done within two rounds of the windows',
  async (t) => {
    const { placement, runAll } = await setup(t, { names: ['a', 'b', 'c', 'd'], window: 8 });
    for (let number = 0; number < 2_000; number += 1) placement.add(line(number, [`p${number % 50}`]));
    for (let number = 0; number < 20; number += 1) placement.add(line(number, ['q'], { batch: 'small' }));
    const ended = (await runAll()).map(({ work: item }) => item.chunk.lease.batchId);
    t.ok(
      ended.lastIndexOf('small') < 2 * 4 * 8,
      `its last line ended as number ${ended.lastIndexOf('small')}`,
    );
  },
);

t.test('a line that needs much of the KV cache is not passed over for ever by small ones', async (t) => {
  const { placement, runAll } = await setup(t, { names: ['a'], window: 16, kvCapacityTokens: 2_000 });
  for (const passages of [[], ['p']]) {
    for (let number = 0; number < 100; number += 1) placement.add(line(number, passages, { batch: 'small' }));
    placement.add(line(0, passages, { batch: 'large', tokens: 1_780 }));
    const ended = (await runAll()).map(({ work: item }) => item.chunk.lease.batchId);
    t.ok(ended.indexOf('large') < 40, `it ended as number ${ended.indexOf('large')} of ${ended.length}`);
  }
});

t.test('what was removed or held is neither lost nor given out twice', async (t) => {
  const { placement, runAll } = await setup(t, { names: ['a'], window: 2, kvCapacityTokens: 1_000 });
  for (let number = 0; number < 50; number += 1) {
    placement.add(line(number, number % 2 ? ['p'] : [], { tokens: 100 + 30 * (number % 20) }));
  }
  placement.next();
  const removed = placement.remove((item) => item.line % 5 === 0);
  t.equal(placement.lines, 49 - removed.length);
  const ended = (await runAll()).map(({ work: item }) => item.line);
  t.equal(new Set([...ended, ...removed.map((item) => item.line)]).size, 49);
  t.equal(placement.lines, 0);
});

t.test(
  'the others of a group do not wait for a first one that was taken back before it was sent',
  async (t) => {
    const { placement, pump, running } = await setup(t, {
      names: ['a'],
      window: 4,
      kvCapacityTokens: 2_000,
      server: 'sglang',
    });
    placement.add(line(1_000, [], { batch: 'other' }));
    pump();
    for (let number = 0; number < 64; number += 1) {
      const tokens = number === 1 ? 1_790 : 100;
      placement.add(line(number, [`root ${number % 2}`, `own ${number}`], { textLength: 2_000, tokens }));
    }
    pump();
    t.equal(running.length, 1, 'the first one keeps its place until it fits');
    t.strictSame(
      placement.remove((item) => item.line === 1).map((item) => item.line),
      [1],
    );
    const next = placement.next();
    t.equal(next?.work.passageHashes[0], 'root 1', 'its group goes on');
    t.type(next?.work.state.release, 'function', 'and has another first one');
  },
);

t.test('a suspect that waits for its tokens to fit is one that runs: no other one starts', async (t) => {
  const { placement, pump, running, isRunning } = await setup(t, { kvCapacityTokens: 2_000 });
  for (const number of [1, 2]) placement.add(line(number, [], { tokens: 1_000 }));
  pump();
  placement.add({ ...line(3, [], { batch: 'large', tokens: 1_500 }), isSuspect: true });
  placement.add({ ...line(4, [], { batch: 'small', tokens: 100 }), isSuspect: true });
  t.equal(placement.next(), null);
  for (const { end } of running) end();
  await new Promise(setImmediate);
  t.equal(placement.next()?.work.line, 3);
  isRunning.suspect = true;
  t.equal(placement.next(), null);
  isRunning.suspect = false;
  t.equal(placement.next()?.work.line, 4);
});

t.test('a line does not keep its place at an endpoint that takes nothing any more', async (t) => {
  for (const failure of [
    modelFailure('overload', 'full', { retryAfterMs: 3_600_000 }),
    modelFailure('misconfigured', 'no such model'),
  ]) {
    const { pool, placement, pump, running } = await setup(t, { kvCapacityTokens: 2_000 });
    for (const number of [1, 2]) placement.add(line(number, [], { tokens: 1_000 }));
    pump();
    placement.add(line(3, [], { tokens: 1_500 }));
    t.equal(placement.next(), null);
    await pool.find('a')?.run(async () => failure);
    running.find(({ endpoint }) => endpoint.name === 'b')?.end();
    await new Promise(setImmediate);
    const next = placement.next();
    t.equal(next?.work.line, 3);
    t.equal(next?.place, pool.find('b'));
  }
});
