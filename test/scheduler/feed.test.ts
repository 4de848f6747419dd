import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { Endpoint } from '../../src/gpu-pool/endpoint.ts';
import { planLines } from '../../src/planning/plan-lines.ts';
import { Feed } from '../../src/scheduler/feed.ts';
import type { Place, Room } from '../../src/scheduler/stage-lines.ts';
import type { Work } from '../../src/scheduler/work.ts';
import { leasedChunk, work } from '../fakes/work-fixtures.ts';

const here = { name: 'here', window: 8 } as Endpoint;

/** Room that `place` decides about, in both stages. */
const roomOf = (place: (work: Work) => Place | null) => (): Room => ({
  place,
  endpointsFor: () => [here],
  serving: () => [here],
});
const anywhere = roomOf(() => here);
const modelOf = (item: Work) => item.parsed.options.model;

/** Takes until nothing more is to be had. */
function drain(feed: Feed, room = anywhere): Work[] {
  const taken: Work[] = [];
  for (let next = feed.take(room); next !== null; next = feed.take(room)) taken.push(next.work);
  return taken;
}

const feedOf = (...works: readonly Work[]) => {
  const feed = new Feed({ modelOf, plan: planLines });
  for (const item of works) feed.push(item);
  return feed;
};

const batch = (id: string, count: number, model: string | null = null) => {
  const chunk = leasedChunk(id);
  return Array.from({ length: count }, (_, index) => work(index + 1, { chunk, model }));
};

const names = (works: readonly Work[]) => works.map((item) => `${item.chunk.lease.batchId}${item.line}`);

const commands = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constantFrom('push', 'pushFront', 'takeModel'),
      batch: fc.constantFrom('a', 'b', 'c'),
      model: fc.constantFrom(null, 'm'),
    }),
    fc.record({
      kind: fc.constantFrom('take', 'refuse', 'remove'),
      batch: fc.constantFrom('a', 'b', 'c'),
      model: fc.constant(null),
    }),
  ),
  { maxLength: 60 },
);

t.test('loses nothing and gives nothing twice, whatever comes, goes and is removed', async () => {
  fc.assert(
    fc.property(commands, (sequence) => {
      const feed = new Feed({ modelOf, plan: planLines });
      const inside = new Set<Work>();
      let line = 0;
      const leaves = (gone: Work) => assert.ok(inside.delete(gone), 'only what came in comes out, once');
      for (const { kind, batch, model } of sequence) {
        if (kind === 'push' || kind === 'pushFront') {
          line += 1;
          const item = work(line, { chunk: leasedChunk(batch), model });
          feed[kind](item);
          inside.add(item);
        } else if (kind === 'remove') {
          const isOfBatch = (item: Work) => item.chunk.lease.batchId === batch;
          const removed = feed.remove(isOfBatch);
          assert.equal(removed.length, [...inside].filter(isOfBatch).length);
          for (const item of removed) leaves(item);
        } else if (kind === 'refuse') {
          assert.equal(feed.take(roomOf(() => null)), null);
        } else {
          const isFitting = (item: Work) => kind === 'take' || item.parsed.options.model === model;
          const next = feed.take(roomOf((item) => (isFitting(item) ? here : null)));
          assert.equal(next === null, ![...inside].some(isFitting), 'what has a place is found');
          if (next) leaves(next.work);
        }
      }
      for (const item of drain(feed)) leaves(item);
      assert.equal(inside.size, 0);
    }),
    { numRuns: 300 },
  );
});

t.test('batches take turns, and the lines of each keep their order', async (t) => {
  const feed = feedOf(...batch('huge', 6), ...batch('small', 2), ...batch('mid', 3));
  t.same(names(drain(feed)), [
    ...['huge1', 'small1', 'mid1'],
    ...['huge2', 'small2', 'mid2'],
    ...['huge3', 'mid3', 'huge4', 'huge5', 'huge6'],
  ]);
});

t.test('a batch that comes later is next, and does not wait for the others to end', async (t) => {
  const feed = feedOf(...batch('huge', 100));
  for (let count = 0; count < 10; count += 1) feed.take(anywhere);
  for (const item of batch('late', 1)) feed.push(item);
  t.same(names([feed.take(anywhere)!.work]), ['late1']);
});

t.test('no batch falls behind, while lines come and go', async () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 2, maxLength: 6 }), (sizes) => {
      const feed = feedOf(...sizes.flatMap((size, index) => batch(`b${index}-`, size)));
      const left = new Map(sizes.map((size, index) => [`b${index}-`, size]));
      let round = new Set<string>();
      for (const item of drain(feed)) {
        const id = item.chunk.lease.batchId;
        if (round.has(id)) {
          for (const [other, count] of left) {
            assert.ok(round.has(other) || count === 0, `${other} was passed over`);
          }
          round = new Set();
        }
        round.add(id);
        left.set(id, (left.get(id) ?? 0) - 1);
      }
    }),
  );
});

t.test('a line that comes back goes before its siblings', async (t) => {
  const feed = feedOf(...batch('a', 3));
  const { work: first } = feed.take(anywhere)!;
  feed.pushFront(first);
  t.same(names(drain(feed)), ['a1', 'a2', 'a3']);
});

t.test('lines whose model has no place do not hold up the others of their batch', async (t) => {
  const feed = feedOf(...batch('a', 2, 'busy'), ...batch('a', 2, 'free'), ...batch('b', 1, 'busy'));
  const taken = drain(
    feed,
    roomOf((item) => (item.parsed.options.model === 'free' ? here : null)),
  );
  t.same(
    taken.map((item) => item.parsed.options.model),
    ['free', 'free'],
  );
  t.equal(drain(feed).length, 3, 'the others are still there');
});

t.test('nor do lines that want to go elsewhere hold up those that have not failed yet', async (t) => {
  const feed = feedOf(...batch('a', 2));
  const { work: failed } = feed.take(anywhere)!;
  failed.state.avoid.add('gpu-0');
  feed.pushFront(failed);
  t.same(
    names(
      drain(
        feed,
        roomOf((item) => (item.state.avoid.has('gpu-0') ? null : here)),
      ),
    ),
    ['a2'],
  );
  t.same(names(drain(feed)), ['a1']);
});

t.test('asks once for each queue when there is no place', async (t) => {
  const feed = feedOf(...batch('a', 50), ...batch('b', 50, 'm'), ...batch('b', 50));
  let asked = 0;
  feed.take(
    roomOf(() => {
      asked += 1;
      return null;
    }),
  );
  t.equal(asked, 3);
});

t.test('removing some lines of a batch leaves the rest, in order and in turn', async (t) => {
  const feed = feedOf(...batch('a', 4), ...batch('b', 2));
  t.same(names(feed.remove((item) => item.chunk.lease.batchId === 'a' && item.line % 2 === 1)), ['a1', 'a3']);
  t.same(names(drain(feed)), ['a2', 'b1', 'a4', 'b2']);
});
