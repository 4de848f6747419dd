// Cuts a plan into contiguous runs, one for each endpoint, so that all are done at the same time: the plan's order keeps
// lines together that share a prefix, and equal shares of its cost keep the endpoints equally busy.

import type { Plan } from './plan.ts';

/** Halvings of the interval in which the least time lies: more than a number of 64 bits has digits for. */
const HALVINGS = 60;

/**
 * The places at which runs begin, and the end of the last: one more than `speeds`. A run may be empty. It may begin
 * within a group, whose prefix is then read once more; by no more than the longest such prefix is the cut worse than
 * the best one. `speeds`: relative, all above 0.
 */
export function cutRuns(plan: Pick<Plan, 'costs' | 'coldCosts'>, speeds: readonly number[]): Uint32Array {
  const sums = new Float64Array(plan.costs.length + 1);
  for (const [place, cost] of plan.costs.entries()) sums[place + 1] = (sums[place] ?? 0) + cost;
  const total = sums.at(-1) ?? 0;
  let low = total / speeds.reduce((sum, speed) => sum + speed, 0);
  // Enough for one endpoint to do all.
  let high =
    (2 * (total + plan.coldCosts.reduce((most, cost) => Math.max(most, cost), 0))) / Math.max(...speeds);
  let best = runsWithin(high);
  for (let halving = 0; halving < HALVINGS && low < high; halving++) {
    const middle = (low + high) / 2;
    const runs = runsWithin(middle);
    if (runs.at(-1) === plan.costs.length) {
      best = runs;
      high = middle;
    } else low = middle;
  }
  return best;

  /** As long as each run can be that is done within a time. The last run may end before the last line. */
  function runsWithin(time: number): Uint32Array {
    const starts = new Uint32Array(speeds.length + 1);
    for (const [index, speed] of speeds.entries()) {
      const begin = starts[index] ?? 0;
      const extra = (plan.coldCosts[begin] ?? 0) - (plan.costs[begin] ?? 0);
      starts[index + 1] = lastWithin(begin, (sums[begin] ?? 0) - extra + time * speed);
    }
    return starts;
  }

  /** The end of the longest run from `begin` whose sum is at most `limit`. */
  function lastWithin(begin: number, limit: number): number {
    let fits = begin;
    let fails = plan.costs.length + 1;
    while (fails - fits > 1) {
      const middle = (fits + fails) >>> 1;
      if ((sums[middle] ?? 0) <= limit) fits = middle;
      else fails = middle;
    }
    return fits;
  }
}
