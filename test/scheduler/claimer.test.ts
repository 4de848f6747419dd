import assert from 'node:assert/strict';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { ClaimedChunk } from '../../src/domain/chunk.ts';
import { Claimer } from '../../src/scheduler/claimer.ts';
import type { ActiveBatch, Store } from '../../src/store/store.ts';
import { chunk, options } from '../fakes/batch-fixtures.ts';
import { altered, scratchStore } from '../fakes/scratch-store.ts';
import { until } from '../fakes/until.ts';

const store = await scratchStore(t);
let batches = 0;

/** A batch of so many chunks of so many lines. */
async function batchOf(chunks: number, linesEach: number): Promise<ActiveBatch> {
  batches += 1;
  const id = `b${batches}`;
  await store.beginUpload(id, null);
  for (let number = 0; number < chunks; number += 1) {
    await store.appendChunk(id, chunk(number, 1 + number * linesEach, linesEach));
  }
  await store.commitUpload(id, { options, metadata: null, inputBytes: 1, requestHash: null });
  return { id, createdAt: 0, ending: null, options };
}

/** A claimer of these batches, and what it has put in hand. */
class World {
  readonly claimed: ClaimedChunk[] = [];
  readonly errors: unknown[] = [];
  readonly claimer: Claimer;
  inHand: ClaimedChunk[] = [];
  /** Batches whose lines in hand all wait for a digest. */
  readonly digesting = new Set<string>();
  isOpen = true;
  retrievingLines = 0;
  claims = 0;
  fills = 0;
  #asking = 0;
  mostLines = 0;

  constructor(
    active: () => readonly ActiveBatch[],
    limits: {
      lines?: number;
      retrieving?: number;
      digestLines?: number;
      bytes?: number;
      store?: Partial<Store>;
    } = {},
  ) {
    this.claimer = new Claimer({
      store: altered(store, {
        activeBatches: async () => {
          this.fills += 1;
          return [...active()];
        },
        claimChunk: async (id) => {
          this.claims += 1;
          this.#asking += 1;
          const claimed = await store.claimChunk(id);
          this.#asking -= 1;
          return claimed;
        },
        ...limits.store,
      }),
      horizonLines: (stage) => (stage === 'generation' ? (limits.lines ?? 10) : (limits.digestLines ?? 0)),
      horizonBytes: limits.bytes ?? 1_000_000,
      retrievingMax: limits.retrieving ?? 1_000,
      hand: this.#hand(),
      isOpen: () => this.isOpen,
      onClaimed: (item) => {
        this.claimed.push(item);
        this.inHand.push(item);
        this.mostLines = Math.max(this.mostLines, this.lines());
        return true;
      },
      onError: (error) => this.errors.push(error),
    });
  }

  /** The numbers that the claimer goes by. */
  #hand(): ConstructorParameters<typeof Claimer>[0]['hand'] {
    const world = this;
    return {
      get lines() {
        return world.lines();
      },
      get digestLines() {
        return world.lines((item) => world.digesting.has(item.lease.batchId));
      },
      get bytes() {
        return world.inHand.reduce((sum, item) => sum + item.text.length, 0);
      },
      get retrievingLines() {
        return world.retrievingLines;
      },
      linesOf: (id) => world.lines((item) => item.lease.batchId === id),
      isLimited: () => false,
    };
  }

  lines(isCounted: (item: ClaimedChunk) => boolean = () => true): number {
    const counted = this.inHand.filter(isCounted);
    return counted.reduce((sum, item) => sum + String(item.text).split('\n').length, 0);
  }

  /** Nudges, and waits until it has done what it can. */
  async settle(reason: 'work' | 'room' = 'work'): Promise<void> {
    const before = this.fills;
    this.claimer.nudge(reason);
    // Between two questions to the store it takes no turn of the loop: a turn without one means rest.
    for (let isResting = false; !isResting; ) {
      await new Promise(setImmediate);
      isResting = this.fills > before && this.#asking === 0;
    }
  }

  get ids(): string[] {
    return this.claimed.map((item) => item.lease.batchId);
  }
}

function setup(t: Test, ...parameters: ConstructorParameters<typeof World>): World {
  const world = new World(...parameters);
  t.teardown(() => world.claimer.stop());
  return world;
}

t.test('claims until the horizon is reached, and goes on when there is room', async (t) => {
  const batch = await batchOf(6, 4);
  const world = setup(t, () => [batch], { lines: 10 });
  await world.settle();
  t.same(
    world.claimed.map((item) => item.lease.chunk),
    [0, 1, 2],
    'the one that crosses the horizon is the last',
  );
  await world.settle();
  t.equal(world.claimed.length, 3);
  world.inHand.shift();
  await world.settle();
  t.equal(world.claimed.length, 4);
  world.inHand = [];
  await world.settle();
  world.inHand = [];
  await world.settle();
  t.same(
    world.claimed.map((item) => item.lease.chunk),
    [0, 1, 2, 3, 4, 5],
    'in order, and nothing twice',
  );
});

t.test('the horizon holds in bytes too', async (t) => {
  const batch = await batchOf(6, 4);
  const world = setup(t, () => [batch], { lines: 1_000, bytes: 300 });
  await world.settle();
  const bytes = world.claimed.map((item) => item.text.length);
  const all = bytes.reduce((sum, one) => sum + one, 0);
  t.ok(all >= 300 && all - bytes.at(-1)! < 300, `${bytes}`);
});

t.test('a batch with nothing in hand gets one chunk, also beyond the horizon', async (t) => {
  const huge = await batchOf(10, 4);
  const small = [await batchOf(3, 4), await batchOf(1, 1)];
  const active = [huge];
  const world = setup(t, () => active, { lines: 8 });
  await world.settle();
  t.same(world.ids, [huge.id, huge.id]);
  active.push(...small);
  await world.settle();
  t.same(world.ids.slice(2), [small[0]?.id, small[1]?.id]);
  await world.settle();
  t.equal(world.claimed.length, 4, 'but only one');
});

t.test('a huge batch does not fill the row for retrieval before a small one', async (t) => {
  const huge = await batchOf(10, 4);
  const small = await batchOf(1, 2);
  const active = [huge];
  const world = setup(t, () => active, { lines: 1_000, retrieving: 8 });
  world.retrievingLines = 8;
  await world.settle();
  t.same(world.ids, [huge.id], 'its first chunk, and no more while so many wait for their passages');
  active.push(small);
  await world.settle();
  t.same(world.ids, [huge.id, small.id]);
  world.retrievingLines = 7;
  world.claimer.nudge();
  await until('more of the huge one', () => world.ids.length > 2);
  const without = { ...(await batchOf(3, 4)), options: { ...options, ragMode: 'off' as const } };
  const other = setup(t, () => [without], { lines: 1_000, retrieving: 8 });
  other.retrievingLines = 8;
  await other.settle();
  t.equal(other.claimed.length, 3, 'lines that need no passages wait for none');
});

t.test('before the collection is ready only batches that are being cancelled are claimed from', async (t) => {
  const running = await batchOf(1, 1);
  const cancelling = { ...(await batchOf(2, 1)), ending: 'cancelled' as const };
  const world = setup(t, () => [running, cancelling]);
  world.isOpen = false;
  await world.settle();
  t.same(world.ids, [cancelling.id, cancelling.id]);
  world.isOpen = true;
  await world.settle();
  t.equal(world.ids.at(-1), running.id);
});

t.test('batches take turns, and the next round begins after the last one that was served', async (t) => {
  const active = [await batchOf(20, 1), await batchOf(20, 1), await batchOf(20, 1)];
  const world = setup(t, () => active, { lines: 4 });
  await world.settle();
  const [a, b, c] = active.map((batch) => batch.id);
  t.same(world.ids, [a, b, c, a]);
  // Two places become free, of a batch that keeps some in hand.
  world.inHand.splice(0, 1);
  await world.settle();
  t.same(world.ids.slice(4), [b]);
  for (let round = 0; round < 6; round += 1) {
    world.inHand.splice(0, 3);
    await world.settle();
  }
  const counts = [a, b, c].map((id) => world.ids.filter((other) => other === id).length);
  t.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${counts}`);
});

t.test('lines that are stuck before one stage leave room for batches that need the other', async (t) => {
  const digested = await batchOf(20, 4);
  const digest = { ...digested, options: { ...options, ragMode: 'digest' as const } };
  const plain = await batchOf(20, 4);
  const world = setup(t, () => [digest, plain], { lines: 12, digestLines: 8 });
  world.digesting.add(digest.id);
  await world.settle();
  const claimedOf = (id: string) => world.ids.filter((other) => other === id).length;
  t.same([claimedOf(digest.id), claimedOf(plain.id)], [2, 3], 'each up to its own horizon');
  world.inHand = world.inHand.filter(({ lease }) => lease.batchId === digest.id);
  await world.settle();
  t.same([claimedOf(digest.id), claimedOf(plain.id)], [2, 6], 'a jam of digests holds up no others');

  world.digesting.clear();
  await world.settle();
  t.same(
    [claimedOf(digest.id), claimedOf(plain.id)],
    [2, 6],
    'what has its digest counts among what is to be answered',
  );
});

t.test('digests run ahead of generation, up to both horizons together', async (t) => {
  const digested = await batchOf(20, 4);
  const world = setup(t, () => [{ ...digested, options: { ...options, ragMode: 'digest' as const } }], {
    lines: 12,
    digestLines: 8,
  });
  await world.settle();
  t.equal(world.claimed.length, 5);
});

t.test('room is used as long as something is left, and asks nobody afterwards', async (t) => {
  const batch = await batchOf(4, 4);
  const active = [batch];
  const world = setup(t, () => active, { lines: 10 });
  await world.settle();
  t.equal(world.claimed.length, 3);
  world.inHand.shift();
  await world.settle('room');
  t.equal(world.claimed.length, 4, 'the last one');
  world.inHand.shift();
  await world.settle('room');
  const { fills, claims } = world;
  world.inHand = [];
  world.claimer.nudge('room');
  await new Promise(setImmediate);
  t.same([world.fills, world.claims], [fills, claims], 'nothing was left');
  active.push(await batchOf(1, 4));
  await world.settle();
  t.equal(world.claimed.length, 5, 'new work is found');
});

t.test('a nudge that comes while it looks is not lost', async (t) => {
  const batch = await batchOf(1, 1);
  const { promise: looking, resolve: look } = Promise.withResolvers<void>();
  let looks = 0;
  const world = setup(t, () => [], {
    store: {
      activeBatches: async () => {
        looks += 1;
        if (looks > 1) return [batch];
        await looking;
        return [];
      },
    },
  });
  world.claimer.nudge();
  world.claimer.nudge();
  world.claimer.nudge();
  look();
  await until('the second look', () => world.claimed.length === 1);
  t.equal(looks, 2, 'many nudges are one');
});

t.test('a store in trouble is told of, and tried again at the next nudge', async (t) => {
  const batch = await batchOf(1, 1);
  let isBroken = true;
  const world = setup(t, () => [batch], {
    store: {
      claimChunk: (id) => (isBroken ? Promise.reject(new Error('disk')) : store.claimChunk(id)),
    },
  });
  world.claimer.nudge();
  await until('the error', () => world.errors.length === 1);
  isBroken = false;
  world.claimer.nudge();
  await until('the claim', () => world.claimed.length === 1);
  t.match(world.errors, [{ message: 'disk' }]);
});

t.test('after stop() nothing is claimed, and what was on its way has arrived', async (t) => {
  const batch = await batchOf(10, 1);
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  let claims = 0;
  const world = setup(t, () => [batch], {
    lines: 1_000,
    store: {
      claimChunk: async (id) => {
        claims += 1;
        if (claims === 3) await held;
        return store.claimChunk(id);
      },
    },
  });
  world.claimer.nudge();
  await until('the third claim to be on its way', () => claims === 3);
  const stopping = world.claimer.stop();
  release();
  await stopping;
  t.equal(world.claimed.length, 3);
  world.claimer.nudge();
  await world.claimer.stop();
  t.equal(claims, 3);
});

t.test('whatever ends when: every chunk is claimed once and the bounds hold', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 5 })), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.integer({ min: 1, max: 12 }),
      fc.infiniteStream(fc.nat(100)),
      async (shapes, horizon, choices) => {
        const active = await Promise.all(shapes.map(([chunks, lines]) => batchOf(chunks, lines)));
        const world = new World(() => active, { lines: horizon });
        const total = shapes.reduce((sum, [chunks]) => sum + chunks, 0);
        while (world.claimed.length < total) {
          const before = world.claimed.length;
          await world.settle();
          const hasNothing = active.filter(({ id }) =>
            world.inHand.every((item) => item.lease.batchId !== id),
          );
          for (const { id } of hasNothing)
            assert.equal(await store.claimChunk(id), null, 'none is passed over');
          assert.ok(world.claimed.length > before || world.inHand.length > 0, 'it goes on');
          if (world.inHand.length > 0) {
            world.inHand.splice(choices.next().value % world.inHand.length, 1);
          }
        }
        assert.equal(new Set(world.claimed.map((item) => item.lease.token)).size, total);
        // One chunk may cross the horizon, and every other batch may have one on top.
        assert.ok(world.mostLines <= horizon + 5 * active.length, `${world.mostLines} over ${horizon}`);
        await world.claimer.stop();
      },
    ),
    { numRuns: 12 },
  );
});
