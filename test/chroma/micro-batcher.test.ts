// Batches form from what is queued, never wait for a timer, and never exceed what is allowed.

import t from 'tap';
import { MicroBatcher } from '../../src/chroma/micro-batcher.ts';
import { until } from '../fakes/until.ts';

/** A batcher of numbers, grouped by tens, whose batches end when the test says so. */
function setup(maxItems: number, maxInFlight: number) {
  const running: { items: readonly number[]; end: () => void }[] = [];
  const seen: number[][] = [];
  const batcher = new MicroBatcher<number>({
    maxItems: (item) => (item === 7 ? 2 : maxItems),
    maxInFlight,
    groupOf: (item) => `${Math.floor(item / 10)}`,
    isAlone: (item) => item >= 90,
    run: (items) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      running.push({ items, end: resolve });
      seen.push([...items]);
      return promise;
    },
  });
  const endOne = () => running.shift()?.end();
  return { batcher, running, seen, endOne };
}

t.test('what is added in one turn leaves together, in groups, up to the cap of calls', async (t) => {
  const { batcher, running, seen, endOne } = setup(3, 2);
  for (const item of [1, 11, 2, 3, 4, 12]) batcher.add(item);
  await until('two batches run', () => running.length === 2);
  t.same(
    seen,
    [
      [1, 2, 3],
      [11, 12],
    ],
    'the oldest item decides whose turn it is',
  );
  batcher.add(5);
  endOne();
  await until('the next batch runs', () => seen.length === 3);
  t.same(seen[2], [4, 5], 'what came meanwhile goes along');
  t.equal(running.length, 2);
});

t.test('an item that was taken back does not leave', async (t) => {
  const { batcher, running, seen } = setup(3, 1);
  batcher.add(1);
  batcher.add(2);
  batcher.remove(1);
  await until('a batch runs', () => running.length === 1);
  t.same(seen, [[2]]);
});

t.test('an item that must be alone shares neither its batch nor its time', async (t) => {
  const { batcher, running, seen, endOne } = setup(3, 2);
  for (const item of [1, 90, 91, 2]) batcher.add(item);
  await until('a batch runs', () => running.length === 1);
  t.same(seen, [[1, 2]]);
  endOne();
  await until('the next runs', () => seen.length === 2);
  t.same([seen[1], running.length], [[90], 1]);
  batcher.putBack([90]);
  endOne();
  await until('it runs again', () => seen.length === 3);
  t.same([seen[2], running.length], [[90], 1], 'what is put back goes first');
  endOne();
  await until('the last runs', () => seen.length === 4);
  t.same(seen[3], [91]);
});

t.test('an item that stands only few beside it has its way', async (t) => {
  const { batcher, running, seen } = setup(3, 9);
  for (const item of [1, 2, 7, 3]) batcher.add(item);
  await until('two batches run', () => running.length === 2);
  t.same(seen, [[1, 2, 3], [7]]);
});
