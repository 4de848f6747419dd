// What an endpoint is to do: groups of lines that begin alike, taken from the head. Others steal from the tail.

import type { NumberedLine } from './plan-input.ts';

/** A line in the book. */
export interface BookLine<Line> {
  /** null: taken or removed. What has gone is not kept alive by plans that it was in. */
  line: Line | null;
  readonly numbered: NumberedLine;
  /** Lines that had arrived before it. */
  readonly arrival: number;
}

export interface PlannedLine<Line> {
  readonly entry: BookLine<Line>;
  /** For each place in the prompt, the 0-based rank of the passage there. */
  readonly ranks: Uint32Array;
  /** What it costs after its predecessor, and without one. */
  readonly cost: number;
  readonly coldCost: number;
}

export interface Group<Line> {
  /** The passage that its prompts share; null: there is none. */
  readonly root: string | null;
  /** The arrival of its oldest line: the group with the least has its turn first. */
  readonly oldest: number;
  /** In the order of their turns. */
  readonly lines: readonly PlannedLine<Line>[];
}

/** Groups that are looked at for one that need not be held back. */
const LOOK_AHEAD_GROUPS = 16;

/** A group, and how many of its lines are taken. */
interface OpenGroup<Line> {
  readonly group: Group<Line>;
  taken: number;
}

/** The next line, its group, and what the group still has. */
export interface NextLine<Line> {
  readonly planned: PlannedLine<Line>;
  readonly group: Group<Line>;
  readonly following: PlannedLine<Line> | null;
  readonly followers: number;
}

export class Run<Line> {
  /** In the order of their turns. */
  readonly #groups: OpenGroup<Line>[] = [];
  /** Groups at the head that are done. */
  #done = 0;
  #cost = 0;

  constructor(groups: readonly Group<Line>[] = []) {
    this.append(groups);
  }

  /** What is left costs so much. */
  get cost(): number {
    return this.#cost;
  }

  get isEmpty(): boolean {
    return this.#done === this.#groups.length;
  }

  append(groups: readonly Group<Line>[]): void {
    for (const group of groups) {
      this.#groups.push({ group, taken: 0 });
      this.#cost += costOf(group.lines);
    }
  }

  /**
   * The next line; null: the run is done. It is of the first group that is not held back, and where the next ones all
   * are, of the first: nobody is to be idle for the sake of order.
   */
  take(isHeldBack: (group: Group<Line>) => boolean): NextLine<Line> | null {
    const open = this.#openGroup(isHeldBack);
    const planned = open?.group.lines[open.taken];
    if (!open || !planned) return null;
    open.taken += 1;
    this.#cost -= planned.cost;
    while (isDone(this.#groups[this.#done])) this.#done += 1;
    if (this.isEmpty) this.#clear();
    const { group, taken } = open;
    return { planned, group, following: group.lines[taken] ?? null, followers: group.lines.length - taken };
  }

  /** Gives up half of what it costs, from the tail: whole groups, or lines where one group only is left. */
  giveHalf(): Group<Line>[] {
    const left = this.left();
    const half = this.#cost / 2;
    let kept = left.length;
    for (let cost = 0; kept > 1 && (kept === left.length || cost < half); ) {
      kept -= 1;
      cost += costOf(left[kept]?.lines ?? []);
    }
    const [first] = left;
    const middle = Math.floor((first?.lines.length ?? 0) / 2);
    const isOneGroup = left.length === 1 && first;
    const own = isOneGroup ? [{ ...first, lines: first.lines.slice(0, middle) }] : left.slice(0, kept);
    const given = isOneGroup ? [{ ...first, lines: first.lines.slice(middle) }] : left.slice(kept);
    this.#clear();
    this.append(own.filter(({ lines }) => lines.length > 0));
    return given.map((group) => ({ ...group, lines: coldBegun(group.lines) }));
  }

  /** The groups that are left, without what is taken of them. */
  left(): Group<Line>[] {
    return this.#groups
      .slice(this.#done)
      .filter((open) => !isDone(open))
      .map(({ group, taken }) => (taken === 0 ? group : { ...group, lines: group.lines.slice(taken) }));
  }

  #clear(): void {
    this.#groups.length = 0;
    this.#done = 0;
    this.#cost = 0;
  }

  #openGroup(isHeldBack: (group: Group<Line>) => boolean): OpenGroup<Line> | undefined {
    const end = Math.min(this.#groups.length, this.#done + LOOK_AHEAD_GROUPS);
    for (let at = this.#done; at < end; at += 1) {
      const open = this.#groups[at];
      if (open && !isDone(open) && !isHeldBack(open.group)) return open;
    }
    return this.#groups[this.#done];
  }
}

function isDone(open: OpenGroup<unknown> | undefined): boolean {
  return open !== undefined && open.taken === open.group.lines.length;
}

export function costOf(lines: readonly PlannedLine<unknown>[]): number {
  return lines.reduce((sum, { cost }) => sum + cost, 0);
}

/** A group that begins on an endpoint which has read nothing like it. */
export function coldBegun<Line>(lines: readonly PlannedLine<Line>[]): PlannedLine<Line>[] {
  return lines.map((planned, index) => (index === 0 ? { ...planned, cost: planned.coldCost } : planned));
}
