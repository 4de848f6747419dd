// A plan as groups of the lines that are still there when it comes.

import type { Plan } from './plan.ts';
import { type BookLine, coldBegun, type Group, type PlannedLine } from './run.ts';

/** `entries`: the lines of the plan's input. `keyOf`: the key of a passage id. */
export function groupsOf<Line>(
  entries: readonly BookLine<Line>[],
  plan: Plan,
  keyOf: (id: number) => string,
): Group<Line>[] {
  const offsets = new Uint32Array(entries.length + 1);
  for (const [line, { numbered }] of entries.entries())
    offsets[line + 1] = (offsets[line] ?? 0) + numbered.passages.length;
  const groups: Group<Line>[] = [];
  for (const [index, begin] of plan.groupStarts.entries()) {
    const lines: PlannedLine<Line>[] = [];
    for (let place = begin; place < (plan.groupStarts[index + 1] ?? plan.sequence.length); place++) {
      const line = plan.sequence[place] ?? 0;
      const entry = entries[line];
      if (!entry || entry.line === null) continue;
      const ranks = plan.ranks.slice(offsets[line], offsets[line + 1]);
      lines.push({ entry, ranks, cost: plan.costs[place] ?? 0, coldCost: plan.coldCosts[place] ?? 0 });
    }
    const [first] = lines;
    if (!first) continue;
    const root = first.entry.numbered.passages[first.ranks[plan.sharedByAll] ?? -1];
    groups.push({
      root: root === undefined ? null : keyOf(root),
      oldest: lines.reduce((least, { entry }) => Math.min(least, entry.arrival), first.entry.arrival),
      lines: coldBegun(lines),
    });
  }
  return groups;
}
