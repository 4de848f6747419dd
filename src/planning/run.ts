// What an endpoint is to do: groups of lines that begin alike, taken from the head. Others steal from the tail.

import type { NumberedLine } from './plan-input.ts';

/** A line in the book. */
export interface BookLine<Line> {
  readonly line: Line;
  readonly numbered: NumberedLine;
  /** Lines that had arrived before it. */
  readonly arrival: number;
  /** false: taken or removed. */
  isHeld: boolean;
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

export class Run<Line> {
  /** In the order of their turns. */
  readonly #groups: Group<Line>[] = [];
  /** Groups that are done, and lines taken of the next one. */
  #done = 0;
  #taken = 0;
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
      this.#groups.push(group);
      this.#cost += costOf(group.lines);
    }
  }

  /** The next line, and its group; null: the run is done. */
  take(): { planned: PlannedLine<Line>; group: Group<Line> } | null {
    const group = this.#groups[this.#done];
    const planned = group?.lines[this.#taken];
    if (!group || !planned) return null;
    this.#taken += 1;
    this.#cost -= planned.cost;
    if (this.#taken === group.lines.length) {
      this.#done += 1;
      this.#taken = 0;
    }
    if (this.isEmpty) this.#cost = 0;
    return { planned, group };
  }

  /** Gives up half of what it costs, from the tail: whole groups, or lines where one group only is left. */
  giveHalf(): Group<Line>[] {
    const given: Group<Line>[] = [];
    const half = this.#cost / 2;
    for (let cost = 0; this.#groups.length > this.#done + 1 && (given.length === 0 || cost < half); ) {
      const group = this.#groups.pop();
      if (!group) break;
      given.unshift(group);
      cost += costOf(group.lines);
    }
    const [last, ...others] = this.left();
    if (given.length === 0 && others.length === 0 && last) {
      const middle = Math.floor(last.lines.length / 2);
      given.push({ ...last, lines: last.lines.slice(middle) });
      this.#groups.length = this.#done;
      this.#taken = 0;
      if (middle > 0) this.#groups.push({ ...last, lines: last.lines.slice(0, middle) });
    }
    this.#cost -= given.reduce((sum, group) => sum + costOf(group.lines), 0);
    return given.map((group) => ({ ...group, lines: coldBegun(group.lines) }));
  }

  /** The groups that are left, the next one without what is taken of it. */
  left(): Group<Line>[] {
    return this.#groups
      .slice(this.#done)
      .map((group, index) => (index === 0 ? { ...group, lines: group.lines.slice(this.#taken) } : group));
  }
}

export function costOf(lines: readonly PlannedLine<unknown>[]): number {
  return lines.reduce((sum, { cost }) => sum + cost, 0);
}

/** A group that begins on an endpoint which has read nothing like it. */
export function coldBegun<Line>(lines: readonly PlannedLine<Line>[]): PlannedLine<Line>[] {
  return lines.map((planned, index) => (index === 0 ? { ...planned, cost: planned.coldCost } : planned));
}
