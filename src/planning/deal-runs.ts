// Deals the groups of a plan to the endpoints. All get old and young groups, so that the oldest have their turn first
// everywhere; then the whole is cut into runs of equal cost, which splits a group only where a cut falls inside it.
//
// The oldest first: each group then gathers lines for as long as the horizon allows, and no line waits for ever. Measured
// as bench/planner.ts does, 60,000 lines with a horizon of 20,000 then cost 1.24 times what one plan for all costs (full);
// groups of the highest mean age cost 1.26, those of the rarest root 1.36, of the commonest 1.35, the smallest 1.37, the
// largest 1.40. Without a horizon (8,000 lines) the differences are small: 1.12, and between 1.10 and 1.15 for the others.

import { cutRuns } from './cut-runs.ts';
import { coldBegun, costOf, type Group, Run } from './run.ts';

export interface Share {
  /** Relative. */
  readonly speed: number;
  /** The passage that the group shares which the endpoint took from last; null: none. */
  readonly lastRoot: string | null;
}

/** A run for each endpoint, of which there is at least one. */
export function dealRuns<Line>(groups: readonly Group<Line>[], endpoints: readonly Share[]): Run<Line>[] {
  const dealt = deal(groups, endpoints);
  const lines = dealt.flatMap((group) => group.lines);
  const starts = cutRuns(
    {
      costs: Float64Array.from(lines, ({ cost }) => cost),
      coldCosts: Float64Array.from(lines, ({ coldCost }) => coldCost),
    },
    endpoints.map(({ speed }) => speed),
  );
  const cut = cutGroups(dealt, starts);
  return endpoints.map(({ lastRoot }, index) => {
    const isWarm = ({ root }: Group<Line>) => root !== null && root === lastRoot;
    const ordered = (cut[index] ?? []).sort(byAge);
    return new Run([...ordered.filter(isWarm), ...ordered.filter((group) => !isWarm(group))]);
  });
}

/** One endpoint's groups after the other's. A group goes where its prefix is cached, else to who has least to do. */
function deal<Line>(groups: readonly Group<Line>[], endpoints: readonly Share[]): Group<Line>[] {
  const shares = endpoints.map(({ speed }) => ({ speed, time: 0, groups: [] as Group<Line>[] }));
  const warm = new Map(endpoints.map(({ lastRoot }, index) => [lastRoot, shares[index]]));
  for (const group of groups.toSorted(byAge)) {
    const cached = group.root === null ? undefined : warm.get(group.root);
    const share = cached ?? shares.reduce((least, other) => (other.time < least.time ? other : least));
    share.groups.push(group);
    share.time += costOf(group.lines) / share.speed;
  }
  return shares.flatMap((share) => share.groups);
}

function byAge(one: Group<unknown>, other: Group<unknown>): number {
  return one.oldest - other.oldest;
}

/** By run: its groups, of which the first and the last may be parts. */
function cutGroups<Line>(groups: readonly Group<Line>[], starts: Uint32Array): Group<Line>[][] {
  const runs: Group<Line>[][] = [];
  let index = 0;
  let used = 0;
  for (let run = 0; run + 1 < starts.length; run++) {
    const parts: Group<Line>[] = [];
    let room = (starts[run + 1] ?? 0) - (starts[run] ?? 0);
    for (let group = groups[index]; group && room > 0; group = groups[index]) {
      const lines = group.lines.slice(used, used + room);
      parts.push({ ...group, lines: coldBegun(lines) });
      room -= lines.length;
      used += lines.length;
      if (used < group.lines.length) continue;
      index += 1;
      used = 0;
    }
    runs.push(parts);
  }
  return runs;
}
