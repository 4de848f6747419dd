// Which lines share which passages: the lines of one step of the group recursion, and those of their passages that at
// least two of them have. Lines leave it, and what sharing a passage saves falls with them.
//
// (T1) A step copies only the smaller part of its lines to a table of their own, so a passage of a line is copied at most
//      log2(lines) times, whatever is shared with whom. What stays is not looked at.

import { type Holdings, keepShared } from './holdings.ts';
import { SavingHeap } from './saving-heap.ts';

export class ShareTable {
  /** Only shared passages, numbered anew. */
  readonly #held: Holdings;
  /** By passage: the lines here that have it. */
  readonly #holders: Int32Array;
  readonly #isTaken: Uint8Array;
  /** Where in the holdings each passage stands: places[placeOffsets[p]] up to placeOffsets[p + 1]. */
  readonly #placeOffsets: Uint32Array;
  readonly #places: Uint32Array;
  /** By place: the local line. */
  readonly #lineAt: Uint32Array;
  readonly #hasLeft: Uint8Array;
  readonly #heap: SavingHeap;
  /** Local lines, among them some that have left. */
  #present: Uint32Array;
  #size: number;

  constructor(all: Holdings) {
    const { held, holders } = keepShared(all);
    const { lines, offsets, passages, space } = held;
    const { costs } = space;
    this.#held = held;
    this.#holders = holders;
    this.#isTaken = new Uint8Array(costs.length);
    this.#placeOffsets = new Uint32Array(costs.length + 1);
    this.#places = new Uint32Array(passages.length);
    this.#lineAt = new Uint32Array(passages.length);
    for (let local = 0; local < lines.length; local++)
      this.#lineAt.fill(local, offsets[local], offsets[local + 1]);
    this.#indexPlaces();
    this.#hasLeft = new Uint8Array(lines.length);
    this.#present = new Uint32Array(lines.length);
    for (let local = 0; local < lines.length; local++) this.#present[local] = local;
    this.#size = lines.length;
    this.#heap = new SavingHeap(
      costs.length,
      (passage) => ((holders[passage] ?? 0) - 1) * (costs[passage] ?? 0),
    );
  }

  /** Lines that have not left. */
  get size(): number {
    return this.#size;
  }

  /** The lines of the plan that have not left. */
  lines(): Uint32Array {
    return this.#present
      .filter((local) => this.#hasLeft[local] === 0)
      .map((local) => this.#held.lines[local] ?? 0);
  }

  /** The passage whose sharing saves most, once; null: nothing is left to share. */
  takeBest(): number | null {
    const passage = this.#heap.take();
    if (passage !== null) this.#isTaken[passage] = 1;
    return passage;
  }

  /** Lines that have the passage. */
  holdersOf(passage: number): number {
    return this.#holders[passage] ?? 0;
  }

  /** Tells each line that has the passage, and at which rank. */
  forEachHolder(passage: number, visit: (line: number, rank: number) => void): void {
    for (const place of this.#placesOf(passage)) {
      const local = this.#lineAt[place] ?? 0;
      if (this.#hasLeft[local] === 0) visit(this.#held.lines[local] ?? 0, this.#held.ranks[place] ?? 0);
    }
  }

  /** Lets those go that have the passage, or those that have not; what they hold beside the passages taken. */
  release(passage: number, which: 'holders' | 'others'): Holdings {
    const holders = this.#placesOf(passage)
      .map((place) => this.#lineAt[place] ?? 0)
      .filter((local) => this.#hasLeft[local] === 0);
    const leaving = which === 'holders' ? holders : this.#othersThan(holders);
    const released = this.#holdingsOf(leaving);
    for (const local of leaving) this.#leave(local);
    // The larger part stays, so that looking through those that are here costs no more than the lines that stay.
    if (which === 'others') this.#present = holders;
    return released;
  }

  #leave(local: number): void {
    const { offsets, passages } = this.#held;
    this.#hasLeft[local] = 1;
    this.#size -= 1;
    for (let at = offsets[local] ?? 0; at < (offsets[local + 1] ?? 0); at++) {
      const passage = passages[at] ?? 0;
      this.#holders[passage] = (this.#holders[passage] ?? 0) - 1;
    }
  }

  #othersThan(locals: Uint32Array): Uint32Array {
    for (const local of locals) this.#hasLeft[local] = 1;
    const others = this.#present.filter((local) => this.#hasLeft[local] === 0);
    for (const local of locals) this.#hasLeft[local] = 0;
    return others;
  }

  #holdingsOf(locals: Uint32Array): Holdings {
    const { lines, offsets, passages, ranks, space } = this.#held;
    let most = 0;
    for (const local of locals) most += (offsets[local + 1] ?? 0) - (offsets[local] ?? 0);
    const released = {
      lines: locals.map((local) => lines[local] ?? 0),
      offsets: new Uint32Array(locals.length + 1),
      passages: new Uint32Array(most),
      ranks: new Uint32Array(most),
      space,
    };
    let end = 0;
    for (let index = 0; index < locals.length; index++) {
      const local = locals[index] ?? 0;
      for (let at = offsets[local] ?? 0; at < (offsets[local + 1] ?? 0); at++) {
        const passage = passages[at] ?? 0;
        if (this.#isTaken[passage] === 1) continue;
        released.passages[end] = passage;
        released.ranks[end] = ranks[at] ?? 0;
        end += 1;
      }
      released.offsets[index + 1] = end;
    }
    return released;
  }

  #placesOf(passage: number): Uint32Array {
    return this.#places.subarray(this.#placeOffsets[passage], this.#placeOffsets[passage + 1]);
  }

  #indexPlaces(): void {
    const { passages } = this.#held;
    let end = 0;
    for (let passage = 0; passage < this.#holders.length; passage++) {
      end += this.#holders[passage] ?? 0;
      this.#placeOffsets[passage + 1] = end;
    }
    const next = this.#placeOffsets.slice();
    for (let place = 0; place < passages.length; place++) {
      const passage = passages[place] ?? 0;
      const at = next[passage] ?? 0;
      this.#places[at] = place;
      next[passage] = at + 1;
    }
  }
}
