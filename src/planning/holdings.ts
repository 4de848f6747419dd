// Lines and the passages they hold, on the way from one table of the group recursion to the next.

export interface Holdings {
  /** By local line: the line of the plan. */
  readonly lines: Uint32Array;
  /** One more than lines. */
  readonly offsets: Uint32Array;
  /** Passages, each at most once a line, and the rank of each in its line. */
  readonly passages: Uint32Array;
  readonly ranks: Uint32Array;
  readonly space: PassageSpace;
}

/** The passages that these numbers mean. */
export interface PassageSpace {
  readonly costs: Float64Array;
  /** To count in: all zero between uses. One for all that leaves a table, which would else be as large each time. */
  readonly counts: Int32Array;
}

/** What at least two lines hold, its passages numbered anew as they come up, and how many lines hold each. */
export function keepShared(all: Holdings): { held: Holdings; holders: Int32Array } {
  const { counts, costs } = all.space;
  const held = all.passages.subarray(0, all.offsets.at(-1));
  for (const passage of held) counts[passage] = (counts[passage] ?? 0) + 1;
  const offsets = new Uint32Array(all.offsets.length);
  const passages = new Uint32Array(held.length);
  const ranks = new Uint32Array(held.length);
  const holders: number[] = [];
  const keptCosts: number[] = [];
  let end = 0;
  for (let line = 0; line < all.lines.length; line++) {
    for (let at = all.offsets[line] ?? 0; at < (all.offsets[line + 1] ?? 0); at++) {
      const passage = held[at] ?? 0;
      const count = counts[passage] ?? 0;
      if (count === 1) continue;
      if (count > 1) {
        holders.push(count);
        keptCosts.push(costs[passage] ?? 0);
        // Below zero stands the new number: counts are not needed twice.
        counts[passage] = -holders.length;
      }
      passages[end] = -(counts[passage] ?? 0) - 1;
      ranks[end] = all.ranks[at] ?? 0;
      end += 1;
    }
    offsets[line + 1] = end;
  }
  for (const passage of held) counts[passage] = 0;
  const space = { costs: Float64Array.from(keptCosts), counts: new Int32Array(holders.length) };
  return {
    held: { lines: all.lines, offsets, passages: passages.slice(0, end), ranks: ranks.slice(0, end), space },
    holders: Int32Array.from(holders),
  };
}
