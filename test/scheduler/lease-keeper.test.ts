import t from 'tap';
import type { Lease } from '../../src/domain/chunk.ts';
import { RagmillError } from '../../src/errors.ts';
import { LeaseKeeper } from '../../src/scheduler/lease-keeper.ts';
import { StoreTrouble } from '../../src/scheduler/store-trouble.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { recordingLog } from '../fakes/recording-log.ts';

const lease: Lease = { batchId: 'b1', chunk: 0, token: 1 };

t.test('while leases cannot be renewed nothing may be claimed; then they are renewed first', async (t) => {
  const clock = new ManualClock();
  const done: string[] = [];
  let isFull = false;
  const keeper = new LeaseKeeper({
    store: {
      async renewLeases() {
        if (isFull) throw new RagmillError('storage_full', 'The disk is full.');
        done.push('renewed');
        return [];
      },
    },
    clock,
    trouble: new StoreTrouble(recordingLog().log),
    leases: () => [lease],
    onLost: () => done.push('lost'),
    onRenewed: () => done.push('may claim'),
  });
  keeper.start();
  await clock.advance(0);
  t.ok(keeper.isHolding);
  isFull = true;
  // Longer than a lease lasts.
  await clock.advance(60_000);
  t.notOk(keeper.isHolding);
  t.same(done, ['renewed', 'may claim']);
  isFull = false;
  await clock.advance(5_000);
  t.ok(keeper.isHolding);
  t.same(done.slice(2), ['renewed', 'may claim']);
  await keeper.stop();
});
