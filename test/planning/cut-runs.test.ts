import fc from 'fast-check';
import t from 'tap';
import { cutRuns } from '../../src/planning/cut-runs.ts';

interface Costs {
  readonly costs: Float64Array;
  readonly coldCosts: Float64Array;
}

/** By run: what it costs at its endpoint's speed, begun without a predecessor. */
function timesOf(
  { costs, coldCosts }: Costs,
  starts: ArrayLike<number>,
  speeds: readonly number[],
): number[] {
  return speeds.map((speed, run) => {
    const [begin, end] = [starts[run] ?? 0, starts[run + 1] ?? 0];
    const rest = costs.subarray(begin + 1, Math.max(begin + 1, end)).reduce((sum, cost) => sum + cost, 0);
    return end > begin ? ((coldCosts[begin] ?? 0) + rest) / speed : 0;
  });
}

/** The least time in which any cut is done. */
function leastTime(plan: Costs, speeds: readonly number[], starts: readonly number[] = [0]): number {
  const lines = plan.costs.length;
  if (starts.length === speeds.length) return Math.max(...timesOf(plan, [...starts, lines], speeds));
  const begin = starts.at(-1) ?? 0;
  const ends = Array.from({ length: lines - begin + 1 }, (_, more) => begin + more);
  return Math.min(...ends.map((end) => leastTime(plan, speeds, [...starts, end])));
}

const anyPlan = fc
  .array(fc.tuple(fc.nat({ max: 50 }), fc.nat({ max: 50 })), { maxLength: 9 })
  .map((lines) => ({
    costs: Float64Array.from(lines, ([cost]) => cost),
    coldCosts: Float64Array.from(lines, ([cost, shared], place) => cost + (place === 0 ? 0 : shared)),
  }));

t.test(
  'runs follow each other, hold all, and no cut would be done sooner by more than a prefix',
  async () => {
    fc.assert(
      fc.property(
        anyPlan,
        fc.array(fc.constantFrom(0.5, 1, 3), { minLength: 1, maxLength: 4 }),
        (plan, speeds) => {
          const starts = [...cutRuns(plan, speeds)];
          const prefix = Math.max(0, ...plan.coldCosts.map((cost, place) => cost - (plan.costs[place] ?? 0)));
          const limit = leastTime(plan, speeds) + prefix / Math.min(...speeds);
          return (
            starts[0] === 0 &&
            starts.at(-1) === plan.costs.length &&
            starts.every((start, run) => run === 0 || start >= (starts[run - 1] ?? 0)) &&
            Math.max(...timesOf(plan, starts, speeds)) <= limit + 1e-6
          );
        },
      ),
      { numRuns: 300 },
    );
  },
);

t.test('a hot group is split, and its prefix counted once more', async (t) => {
  const plan = { costs: Float64Array.of(500, 100, 100, 100), coldCosts: Float64Array.of(500, 500, 500, 500) };
  t.strictSame([...cutRuns(plan, [1, 1])], [0, 2, 4]);
});

t.test('a faster endpoint gets the longer run', async (t) => {
  const costs = new Float64Array(90).fill(1);
  t.strictSame([...cutRuns({ costs, coldCosts: costs }, [2, 1])], [0, 60, 90]);
});

t.test('where there are more endpoints than lines, some runs are empty', async (t) => {
  const costs = Float64Array.of(5, 5);
  t.strictSame([...cutRuns({ costs, coldCosts: costs }, [1, 1, 1])], [0, 1, 2, 2]);
});
