// Passages by what sharing them saves, most first. Savings only fall: an entry is put right when it comes up, so a fall
// costs nothing until then, and each entry is moved at most once for each fall.

export class SavingHeap {
  readonly #savingOf: (passage: number) => number;
  readonly #heap: Int32Array;
  /** By passage: the saving by which it stands in the heap. */
  readonly #known: Float64Array;
  #size: number;

  /** Passages are 0 up to `count`. */
  constructor(count: number, savingOf: (passage: number) => number) {
    this.#savingOf = savingOf;
    this.#heap = new Int32Array(count);
    this.#known = new Float64Array(count);
    for (let passage = 0; passage < count; passage++) {
      this.#heap[passage] = passage;
      this.#known[passage] = savingOf(passage);
    }
    this.#size = count;
    for (let at = (count >> 1) - 1; at >= 0; at--) this.#sink(at);
  }

  /** Takes out the passage that saves most, of equal ones the smallest; null: none saves anything. */
  take(): number | null {
    while (this.#size > 0) {
      const passage = this.#heap[0] ?? 0;
      const saving = this.#savingOf(passage);
      if (saving > 0 && saving < (this.#known[passage] ?? 0)) {
        this.#known[passage] = saving;
        this.#sink(0);
        continue;
      }
      this.#size -= 1;
      this.#heap[0] = this.#heap[this.#size] ?? 0;
      this.#sink(0);
      if (saving > 0) return passage;
    }
    return null;
  }

  #sink(from: number): void {
    const passage = this.#heap[from] ?? 0;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#isBefore(this.#heap[child + 1] ?? 0, this.#heap[child] ?? 0))
        child += 1;
      const better = this.#heap[child] ?? 0;
      if (!this.#isBefore(better, passage)) break;
      this.#heap[at] = better;
      at = child;
    }
    this.#heap[at] = passage;
  }

  #isBefore(one: number, other: number): boolean {
    const difference = (this.#known[one] ?? 0) - (this.#known[other] ?? 0);
    return difference > 0 || (difference === 0 && one < other);
  }
}
