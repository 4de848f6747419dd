import fc from 'fast-check';
import t from 'tap';
import { listScheduleMs, lowerBoundMs } from '../../bench/parts/ideal-dispatcher.ts';

t.test('each slot that becomes free takes the next line', async (t) => {
  t.equal(listScheduleMs([3, 1, 1, 1, 5], 2), 8);
  t.equal(lowerBoundMs([3, 1, 1, 1, 5], 2), 5.5);
  t.equal(lowerBoundMs([9, 1], 2), 9);
});

t.test('list scheduling keeps within the bound that Graham proved', async () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 100 });
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 9 }), (all, slots) => {
      const bound = lowerBoundMs(all, slots);
      const makespan = listScheduleMs(all, slots);
      return makespan >= bound - 1e-9 && makespan <= (2 - 1 / slots) * bound + 1e-9;
    }),
  );
});
