import t from 'tap';
import { Upkeep } from '../../src/scheduler/upkeep.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { recordingLog } from '../fakes/recording-log.ts';
import { until } from '../fakes/until.ts';

/** A clock whose wall time can be set, as an administrator or a time server does. */
class WallClock extends ManualClock {
  jumpMs = 0;

  override now(): number {
    return super.now() + this.jumpMs;
  }
}

function setup(retentionHours = 0) {
  const clock = new WallClock();
  const batches = new Map<string, number>();
  const old = ['old1', 'old2'];
  const expired: string[] = [];
  const deleted: string[] = [];
  let before = 0;
  let sweeps = 0;
  const upkeep = new Upkeep({
    store: {
      expiringBatches: async () => [...batches].map(([id, expiresAt]) => ({ id, expiresAt })),
      endedBatches: async (time) => {
        before = time;
        return old;
      },
      deleteBatch: async (id) => {
        old.splice(old.indexOf(id), 1);
        deleted.push(id);
        return 'deleted';
      },
      expireFiles: async () => {
        sweeps += 1;
      },
    },
    clock,
    log: recordingLog().log,
    retentionHours,
    expire: async (id) => {
      batches.delete(id);
      expired.push(id);
    },
  });
  t.teardown(() => upkeep.stop());
  const start = async () => {
    upkeep.start();
    // Its first round is done, and it waits for the clock.
    await until('it to wait', () => clock.sleepers === (retentionHours > 0 ? 3 : 2));
  };
  return { clock, batches, expired, deleted, start, cutoff: () => before, sweeps: () => sweeps };
}

const inSeconds = (clock: ManualClock, seconds: number) => Math.floor(clock.now() / 1000) + seconds;

t.test('a batch expires at its deadline, not before', async (t) => {
  const { clock, batches, expired, start } = setup();
  batches.set('b1', inSeconds(clock, 60));
  await start();
  await clock.advance(58_000);
  t.same(expired, []);
  await clock.advance(4_000);
  t.same(expired, ['b1']);
});

t.test('a deadline that passed while nobody was there is met at the start', async (t) => {
  const { clock, batches, expired, start } = setup();
  batches.set('b1', inSeconds(clock, -5));
  await start();
  t.same(expired, ['b1']);
});

t.test('a wall clock that jumps expires nothing early, and nothing twice as late', async (t) => {
  for (const jumpMs of [3600_000, -3600_000]) {
    const { clock, batches, expired, start } = setup();
    batches.set('b1', inSeconds(clock, 1800));
    await start();
    await clock.advance(2_000);
    clock.jumpMs = jumpMs;
    await clock.advance(1_790_000);
    t.same(expired, [], `after a jump of ${jumpMs} ms`);
    await clock.advance(10_000);
    t.same(expired, ['b1']);
  }
});

t.test('a deadline that a retry moved counts anew', async (t) => {
  const { clock, batches, expired, start } = setup();
  batches.set('b1', inSeconds(clock, 10));
  await start();
  await clock.advance(5_000);
  batches.set('b1', inSeconds(clock, 100));
  await clock.advance(90_000);
  t.same(expired, []);
});

t.test('ended batches are deleted after their retention time, and kept for ever without one', async (t) => {
  const kept = setup(0);
  await kept.start();
  await kept.clock.advance(3 * 60_000);
  t.same(kept.deleted, []);
  const short = setup(2);
  await short.start();
  await until('both to be deleted', () => short.deleted.length === 2);
  await short.clock.advance(60_000);
  t.same(short.deleted, ['old1', 'old2']);
  t.equal(short.cutoff(), inSeconds(short.clock, -2 * 3600));
});

t.test('files go when their time is over, whether batches are kept or not', async (t) => {
  const { clock, start, sweeps } = setup(0);
  await start();
  t.equal(sweeps(), 1);
  await clock.advance(59_000);
  t.equal(sweeps(), 1);
  await clock.advance(61_000);
  t.equal(sweeps(), 3);
});
