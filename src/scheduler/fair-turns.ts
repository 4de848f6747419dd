// Whose turn it is among batches that all have something to run: each gets its weight's share of what is served,
// measured in cost. Start-time fair queueing: P. Goyal, H. Vin, H. Cheng, "Start-time Fair Queuing", SIGCOMM 1996.
//
// (T1) Over any time in which two batches both could be served, what they got is as their weights, but for one line of each.
// (T2) Who comes, or could not be served for a while, goes on as if it had just come: it neither waits for others to have had
//      as much nor makes up for the time. Who leaves and comes back still owes what it had.
// (T3) When nobody has anything to run, nobody owes anything: who has left is not remembered for longer than others are here.

interface Turn {
  readonly id: string;
  readonly weight: number;
  /** Virtual time at which all that it was served is paid for. */
  finish: number;
  isAway: boolean;
}

export class FairTurns {
  /** In the order of their last turns. */
  readonly #turns = new Map<string, Turn>();
  /** Virtual time: the start of what was served last. */
  #now = 0;

  /** Has something to run from now on. One that was here before keeps its weight. */
  join(id: string, weight: number): void {
    const turn = this.#turns.get(id);
    if (turn) turn.isAway = false;
    else this.#turns.set(id, { id, weight, finish: this.#now, isAway: false });
  }

  /** Has nothing to run any more. */
  leave(id: string): void {
    const turn = this.#turns.get(id);
    if (!turn || turn.isAway) return;
    turn.isAway = true;
    if (this.#turns.values().every(({ isAway }) => isAway)) {
      for (const { finish } of this.#turns.values()) this.#now = Math.max(this.#now, finish);
    }
    this.#forgetPaid();
  }

  /** It was served at this cost. */
  charge(id: string, cost: number): void {
    const turn = this.#turns.get(id);
    if (!turn) return;
    this.#now = this.#startOf(turn);
    turn.finish = this.#now + cost / turn.weight;
    this.#turns.delete(id);
    this.#turns.set(id, turn);
    this.#forgetPaid();
  }

  /** Those who have something to run, who is served next first; equals in the order of their last turns. */
  *inTurn(): Generator<string> {
    const left: Turn[] = [];
    let first: Turn | null = null;
    for (const turn of this.#turns.values()) {
      if (turn.isAway) continue;
      left.push(turn);
      if (first === null || this.#startOf(turn) < this.#startOf(first)) first = turn;
    }
    if (first === null) return;
    yield first.id;
    // Asked for where the first one cannot be served.
    left.sort((one, other) => this.#startOf(one) - this.#startOf(other));
    for (const turn of left) if (turn !== first) yield turn.id;
  }

  #startOf({ finish }: Turn): number {
    return Math.max(this.#now, finish);
  }

  #forgetPaid(): void {
    for (const { id, finish, isAway } of this.#turns.values()) {
      if (isAway && finish <= this.#now) this.#turns.delete(id);
    }
  }
}
