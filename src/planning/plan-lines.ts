// The planner: an order of lines, and of the passages in each prompt, in which neighbours begin alike.
//
// (P1) Each line of the input is once in the sequence, and each of its ranks once in its prompt.
// (P2) Equal inputs give equal plans.

import type { Plan, PlanInput } from './plan.ts';
import { queueOrder } from './queue-order.ts';
import { sharingOrder } from './sharing-order.ts';

export function planLines(input: PlanInput): Plan {
  const order = input.contextOrder === 'preserve' ? queueOrder(input) : sharingOrder(input);
  const lines = order.sequence.length;
  const costs = new Float64Array(lines);
  const coldCosts = new Float64Array(lines);
  const shared = new Uint32Array(lines);
  let before: Uint32Array = new Uint32Array(0);
  let sharedByAll = lines > 1 ? input.passages.length : 0;
  for (const [place, line] of order.sequence.entries()) {
    const prompt = promptOf(input, order.ranks, line);
    const common = commonLength(before, prompt);
    let cost = input.ownCosts[line] ?? 0;
    for (const passage of prompt.subarray(common)) cost += input.passageCosts[passage] ?? 0;
    costs[place] = cost;
    for (const passage of prompt.subarray(0, common)) cost += input.passageCosts[passage] ?? 0;
    coldCosts[place] = cost;
    shared[place] = common;
    if (place > 0) sharedByAll = Math.min(sharedByAll, common);
    before = prompt;
  }
  const groupStarts = Uint32Array.from(startsOf(shared, sharedByAll));
  return { ...order, costs, coldCosts, sharedByAll, groupStarts };
}

function promptOf({ offsets, passages }: PlanInput, ranks: Uint32Array, line: number): Uint32Array {
  const begin = offsets[line] ?? 0;
  return ranks.slice(begin, offsets[line + 1]).map((rank) => passages[begin + rank] ?? 0);
}

/** With how many passages two prompts begin alike. */
function commonLength(one: Uint32Array, other: Uint32Array): number {
  const most = Math.min(one.length, other.length);
  let length = 0;
  while (length < most && one[length] === other[length]) length += 1;
  return length;
}

function* startsOf(shared: Uint32Array, sharedByAll: number): Generator<number> {
  for (const [place, common] of shared.entries()) {
    if (place === 0 || common <= sharedByAll) yield place;
  }
}
