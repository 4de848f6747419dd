// The runs of the endpoints, while endpoints come and go. Who has nothing left steals from who has most.

import { dealRuns } from './deal-runs.ts';
import { Leaders } from './leaders.ts';
import { type BookLine, type Group, type NextLine, type PlannedLine, Run } from './run.ts';

/** A shorter prefix, or fewer lines behind the first, are not worth holding anything back. */
const LED_COST_MIN = 256;
const FOLLOWERS_MIN = 2;

interface Endpoint<Line> {
  speed: number;
  run: Run<Line>;
  /** The passage that the group shares which it took from last; null: none. */
  lastRoot: string | null;
  readonly leaders: Leaders;
}

/** A line for an endpoint; `leads`: the passage that others of its group wait for until it has been read; null: none do. */
export interface NextPlanned<Line> {
  readonly planned: PlannedLine<Line>;
  readonly leads: string | null;
}

export class EndpointRuns<Line> {
  readonly #endpoints = new Map<string, Endpoint<Line>>();
  /** Runs whose endpoints have left, and what was planned while there was none. */
  #orphans: Run<Line>[] = [];
  #lines = 0;

  /** Lines in all runs. */
  get lines(): number {
    return this.#lines;
  }

  /** Speeds are relative, and above 0. */
  join(name: string, speed: number): void {
    this.#endpoint(name).speed = speed;
  }

  /** What was in its run is there for the others. */
  leave(name: string): void {
    const endpoint = this.#endpoints.get(name);
    if (endpoint && !endpoint.run.isEmpty) this.#orphans.push(endpoint.run);
    this.#endpoints.delete(name);
  }

  isDry(name: string): boolean {
    return this.#endpoint(name).run.isEmpty;
  }

  /**
   * The next line of an endpoint's run, stolen if need be; null: there is none in any run. `isLeaderFirst`: the endpoint
   * shares what it has read only when it is read.
   */
  takeFor(name: string, isLeaderFirst: boolean): NextPlanned<Line> | null {
    const endpoint = this.#endpoint(name);
    if (endpoint.run.isEmpty) this.#stealFor(endpoint.run);
    const { leaders } = endpoint;
    const next = endpoint.run.take(({ root }) => root !== null && leaders.isBeingRead(root));
    if (!next) return null;
    const { root } = next.group;
    endpoint.lastRoot = root;
    this.#lines -= 1;
    const isLeader = isLeaderFirst && root !== null && isWorthLeading(next) && leaders.send(root);
    return { planned: next.planned, leads: isLeader ? root : null };
  }

  /** A line that leads has begun to answer, or has come to nothing (`isRead`: false). */
  release(name: string, root: string, isRead: boolean): void {
    this.#endpoints.get(name)?.leaders.release(root, isRead);
  }

  /** The lines in all runs. */
  entries(): BookLine<Line>[] {
    return this.#runs().flatMap((run) => run.left().flatMap(({ lines }) => lines.map(({ entry }) => entry)));
  }

  /** Puts new runs in the place of all there are. */
  replace(groups: readonly Group<Line>[]): void {
    const endpoints = [...this.#endpoints.values()];
    const runs = endpoints.length > 0 ? dealRuns(groups, endpoints) : [];
    for (const [index, run] of runs.entries()) {
      const endpoint = endpoints[index];
      if (endpoint) endpoint.run = run;
    }
    this.#orphans = endpoints.length > 0 ? [] : [new Run(groups)];
    this.#lines = groups.reduce((sum, { lines }) => sum + lines.length, 0);
  }

  /** Drops the lines that do not match. */
  retain(matches: (entry: BookLine<Line>) => boolean): void {
    const retained = (run: Run<Line>): Run<Line> => {
      const groups = run.left().map((group) => ({
        ...group,
        lines: group.lines.filter(({ entry }) => matches(entry)),
      }));
      return new Run(groups.filter(({ lines }) => lines.length > 0));
    };
    this.#orphans = this.#orphans.map(retained);
    for (const endpoint of this.#endpoints.values()) endpoint.run = retained(endpoint.run);
    this.#lines = this.entries().length;
  }

  #endpoint(name: string): Endpoint<Line> {
    const endpoint = this.#endpoints.get(name) ?? {
      speed: 1,
      run: new Run<Line>(),
      lastRoot: null,
      leaders: new Leaders(),
    };
    this.#endpoints.set(name, endpoint);
    return endpoint;
  }

  #stealFor(thief: Run<Line>): void {
    const full = this.#runs().filter((run) => !run.isEmpty);
    const [first, ...others] = full;
    if (!first) return;
    thief.append(others.reduce((most, run) => (run.cost > most.cost ? run : most), first).giveHalf());
    this.#orphans = this.#orphans.filter((run) => !run.isEmpty);
  }

  #runs(): Run<Line>[] {
    return [...this.#orphans, ...Array.from(this.#endpoints.values(), ({ run }) => run)];
  }
}

function isWorthLeading({ following, followers }: NextLine<unknown>): boolean {
  if (following === null || followers < FOLLOWERS_MIN) return false;
  return following.coldCost - following.cost >= LED_COST_MIN;
}
