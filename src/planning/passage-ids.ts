// Small whole numbers for passages, for as long as a line holds them: a batch of millions of lines names more passages
// than should be kept.

export class PassageIds {
  readonly #ids = new Map<string, number>();
  readonly #keys: string[] = [];
  readonly #costs: number[] = [];
  /** By id: lines that hold it; 0: the number is free. */
  readonly #holders: number[] = [];
  readonly #free: number[] = [];

  /** Above every number in use. */
  get limit(): number {
    return this.#keys.length;
  }

  /** The passage's number, once more held. What it costs to read, the first to hold it says. */
  hold(key: string, cost: number): number {
    const known = this.#ids.get(key);
    const id = known ?? this.#free.pop() ?? this.#keys.length;
    this.#holders[id] = 1 + (this.#holders[id] ?? 0);
    if (known !== undefined) return known;
    this.#ids.set(key, id);
    this.#keys[id] = key;
    this.#costs[id] = cost;
    return id;
  }

  release(id: number): void {
    const holders = (this.#holders[id] ?? 0) - 1;
    this.#holders[id] = holders;
    if (holders > 0) return;
    this.#ids.delete(this.#keys[id] ?? '');
    this.#free.push(id);
    // A batch that is paused for weeks is not to keep what a hundred thousand passages were called.
    if (this.#ids.size === 0) {
      for (const list of [this.#keys, this.#costs, this.#holders, this.#free]) list.length = 0;
    }
  }

  keyOf(id: number): string {
    return this.#keys[id] ?? '';
  }

  costOf(id: number): number {
    return this.#costs[id] ?? 0;
  }
}
