// The lines of a batch that are retrieved and not taken, and who is to take which of them next. Plans are made while
// lines come and go: until there is a plan, lines go in the order of their arrival; while a new one is made, by the old.
//
// (B1) Every line that was added is given out exactly once, by takeFor() or by remove(); put back, once more.
// (B2) takeFor() answers null only where no line is held.
// (B3) What is taken or removed while a plan is made is not in it when it comes; what is added is in the next.
// (B4) The lines of an endpoint that has left are there for the others.
// (B5) A plan of n lines is made only when a fixed share of n has come anew, so that a line costs the same in any number.

import type { ContextOrder } from '../domain/context-order.ts';
import { EndpointRuns } from './endpoint-runs.ts';
import { PassageIds } from './passage-ids.ts';
import type { Plan, PlanInput } from './plan.ts';
import { groupsOf } from './plan-groups.ts';
import { numberLine, type PlanLine, planInputOf, type TokenCosts } from './plan-input.ts';
import type { BookLine } from './run.ts';

/** Fewer new lines are not worth a plan. */
const FRESH_LINES_MIN = 32;
/** New lines that are worth a plan, as a share of all that would be in it. */
const FRESH_SHARE = 0.2;
/** The same where an endpoint has nothing left in its run. */
const FRESH_SHARE_DRY = 0.1;

export interface RunBookOptions<Line> {
  readonly contextOrder: ContextOrder;
  readonly tokenCosts: TokenCosts;
  /** Asked once a line, when it is added. */
  readonly planLineOf: (line: Line) => PlanLine;
  /** planLines(), here or in a thread that its input is handed to. One at a time. Must not reject. */
  readonly plan: (input: PlanInput) => Promise<Plan> | Plan;
}

/** A line on its way to an endpoint. */
export interface TakenLine<Line> {
  readonly line: Line;
  /** For each place in the prompt, the 0-based rank of the passage there. */
  readonly ranks: Uint32Array;
  /** The passage that others wait for until this line has been read, to be named to release(); null: none do. */
  readonly leads: string | null;
}

export class RunBook<Line> {
  readonly #options: RunBookOptions<Line>;
  readonly #ids = new PassageIds();
  readonly #runs = new EndpointRuns<Line>();
  /** Lines that came back. */
  #returned: TakenLine<Line>[] = [];
  /** Lines in no plan yet, in the order of their arrival. */
  #fresh: BookLine<Line>[] = [];
  /** Lines in no plan but the one that is being made; null: none is. */
  #inPlanning: BookLine<Line>[] | null = null;
  #arrivals = 0;

  constructor(options: RunBookOptions<Line>) {
    this.#options = options;
  }

  /** Lines that are held. */
  get size(): number {
    return this.#returned.length + this.#plannable + (this.#inPlanning?.length ?? 0);
  }

  /** A line was retrieved. */
  add(line: Line): void {
    const { planLineOf, tokenCosts } = this.#options;
    const numbered = numberLine(planLineOf(line), this.#ids, tokenCosts);
    this.#fresh.push({ line, numbered, arrival: this.#arrivals });
    this.#arrivals += 1;
    this.#planIfWorth(FRESH_SHARE);
  }

  /** A line that was taken comes back, with the order of its prompt, and goes before all others. */
  putBack(taken: TakenLine<Line>): void {
    this.#returned.push(taken);
  }

  /** An endpoint is there, or works at another speed than before. Speeds are relative, and above 0. */
  join(endpoint: string, speed: number): void {
    this.#runs.join(endpoint, speed);
  }

  leave(endpoint: string): void {
    this.#runs.leave(endpoint);
  }

  /**
   * The next line for an endpoint; one that has not joined does so, with speed 1. `isLeaderFirst`: of lines that share
   * much, the others wait until the first has been read, as long as there is something else.
   */
  takeFor(endpoint: string, isLeaderFirst = false): TakenLine<Line> | null {
    const returned = this.#returned.shift();
    if (returned) return returned;
    if (this.#runs.isDry(endpoint)) this.#planIfWorth(FRESH_SHARE_DRY);
    const next = this.#runs.takeFor(endpoint, isLeaderFirst);
    if (!next) return this.#takeUnplanned();
    const { entry, ranks } = next.planned;
    return { line: this.#takeOut(entry), ranks, leads: next.leads };
  }

  /** A line that leads has begun to answer, or has come to nothing (`isRead`: false). */
  release(endpoint: string, root: string, isRead: boolean): void {
    this.#runs.release(endpoint, root, isRead);
  }

  /** Takes out all lines that match. */
  remove(matches: (line: Line) => boolean): Line[] {
    const removed = this.#returned.map(({ line }) => line).filter(matches);
    this.#returned = this.#returned.filter(({ line }) => !matches(line));
    const stays = (entry: BookLine<Line>): boolean => {
      if (entry.line !== null && !matches(entry.line)) return true;
      removed.push(this.#takeOut(entry));
      return false;
    };
    this.#runs.retain(stays);
    if (this.#inPlanning) this.#inPlanning = this.#inPlanning.filter(stays);
    this.#fresh = this.#fresh.filter(stays);
    return removed;
  }

  /** Lines that would be in a plan begun now. */
  get #plannable(): number {
    return this.#fresh.length + this.#runs.lines;
  }

  #takeUnplanned(): TakenLine<Line> | null {
    const entry = this.#inPlanning?.shift() ?? this.#fresh.shift();
    if (!entry) return null;
    return {
      line: this.#takeOut(entry),
      ranks: unplannedRanks(entry.numbered.passages.length, this.#options.contextOrder),
      leads: null,
    };
  }

  #planIfWorth(share: number): void {
    const isWorth = this.#fresh.length >= Math.max(FRESH_LINES_MIN, share * this.#plannable);
    if (this.#inPlanning || !isWorth) return;
    const entries = [...this.#runs.entries(), ...this.#fresh];
    this.#inPlanning = this.#fresh;
    this.#fresh = [];
    const lines = entries.map(({ numbered }) => numbered);
    const plan = this.#options.plan(planInputOf(lines, this.#ids, this.#options.contextOrder));
    if (plan instanceof Promise) void plan.then((made) => this.#carryOut(entries, made));
    else this.#carryOut(entries, plan);
  }

  #carryOut(entries: readonly BookLine<Line>[], plan: Plan): void {
    this.#runs.replace(groupsOf(entries, plan, (id) => this.#ids.keyOf(id)));
    this.#inPlanning = null;
  }

  #takeOut(entry: BookLine<Line>): Line {
    const { line, numbered } = entry;
    if (line === null) throw new Error('a line that was taken is still there');
    entry.line = null;
    for (const id of numbered.passages) this.#ids.release(id);
    return line;
  }
}

/** The order of a prompt that no plan has touched. */
function unplannedRanks(passages: number, contextOrder: ContextOrder): Uint32Array {
  const first = contextOrder === 'pin_top' ? 1 : 0;
  return Uint32Array.from({ length: passages }, (_, place) => (place + first) % passages);
}
