// Batches that all have something to run get their weights' shares, whoever comes and goes.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { FairTurns } from '../../src/scheduler/fair-turns.ts';

/** Serves whoever is next so many times; answers what each got, in cost. */
function serve(turns: FairTurns, times: number, costOf: (id: string) => number): Record<string, number> {
  const got: Record<string, number> = {};
  for (let count = 0; count < times; count += 1) {
    const [id] = turns.inTurn();
    if (id === undefined) break;
    const cost = costOf(id);
    got[id] = (got[id] ?? 0) + cost;
    turns.charge(id, cost);
  }
  return got;
}

t.test('sixteen to four to one', async (t) => {
  const turns = new FairTurns();
  turns.join('low', 1);
  turns.join('normal', 4);
  turns.join('high', 16);
  t.same(
    serve(turns, 2_100, () => 5),
    { high: 8_000, normal: 2_000, low: 500 },
  );
});

t.test('shares are of cost, not of lines, and never off by more than a line of each', async () => {
  const batches = fc.array(
    fc.record({ weight: fc.constantFrom(1, 4, 16), cost: fc.integer({ min: 1, max: 5_000 }) }),
    { minLength: 2, maxLength: 6 },
  );
  fc.assert(
    fc.property(batches, fc.integer({ min: 1, max: 400 }), (list, times) => {
      const turns = new FairTurns();
      for (const [index, { weight }] of list.entries()) turns.join(String(index), weight);
      const got = serve(turns, times, (id) => list[Number(id)]?.cost ?? 0);
      for (const [one, { weight, cost }] of list.entries()) {
        for (const [other, { weight: otherWeight, cost: otherCost }] of list.entries()) {
          const ahead = (got[one] ?? 0) / weight - (got[other] ?? 0) / otherWeight;
          assert.ok(
            ahead <= cost / weight + otherCost / otherWeight + 1e-6,
            `${one} is ${ahead} ahead of ${other}`,
          );
        }
      }
    }),
  );
});

t.test('who comes late is next, and gets no more than its share from then on', async (t) => {
  const turns = new FairTurns();
  turns.join('early', 4);
  serve(turns, 1_000, () => 10);
  turns.join('late', 4);
  t.same([...turns.inTurn()], ['late', 'early']);
  t.same(
    serve(turns, 100, () => 10),
    { late: 500, early: 500 },
  );
});

t.test('who could not be served makes nothing up for it', async (t) => {
  const turns = new FairTurns();
  turns.join('blocked', 4);
  turns.join('other', 4);
  for (let count = 0; count < 1_000; count += 1) turns.charge('other', 10);
  t.same(
    serve(turns, 100, () => 10),
    { blocked: 500, other: 500 },
  );
});

t.test('who leaves and comes back with every line still owes what it had', async (t) => {
  const turns = new FairTurns();
  turns.join('steady', 4);
  const got = { steady: 0, jumpy: 0 };
  for (let count = 0; count < 1_000; count += 1) {
    turns.join('jumpy', 4);
    const [id] = turns.inTurn();
    got[id as keyof typeof got] += 1;
    turns.charge(String(id), 10);
    turns.leave('jumpy');
  }
  t.same(got, { steady: 500, jumpy: 500 });
});

t.test('where nobody has anything to run, all is forgotten: who comes back owes nothing', async (t) => {
  const turns = new FairTurns();
  for (const id of ['one', 'other']) {
    turns.join(id, 4);
    turns.charge(id, 1_000);
    turns.leave(id);
  }
  turns.join('new', 4);
  turns.join('one', 4);
  t.same(
    serve(turns, 100, () => 10),
    { new: 500, one: 500 },
  );
});

t.test('all are named in the order of their turns, equals in that of their last ones', async () => {
  const steps = fc.array(fc.record({ id: fc.nat({ max: 7 }), cost: fc.constantFrom(0, 1, 2, 5) }));
  fc.assert(
    fc.property(steps, (list) => {
      const turns = new FairTurns();
      for (let id = 0; id < 8; id += 1) turns.join(String(id), 1);
      for (const { id, cost } of list) turns.charge(String(id), cost);
      const named = [...turns.inTurn()];
      const finish = new Map<string, number>();
      let now = 0;
      const startOf = (id: string) => Math.max(now, finish.get(id) ?? 0);
      const last = named.map((_, id) => list.findLastIndex((step) => step.id === id));
      for (const { id, cost } of list) {
        now = startOf(String(id));
        finish.set(String(id), now + cost);
      }
      const expected = named
        .toSorted((a, b) => Number(a) - Number(b))
        .sort((a, b) => startOf(a) - startOf(b) || (last[Number(a)] ?? 0) - (last[Number(b)] ?? 0));
      assert.deepEqual(named, expected);
    }),
  );
});
