// A bounded table that hands out small numbers for its entries and reuses those that were given back.

export class SlotTable<Entry> {
  readonly #capacity: number;
  readonly #entries = new Map<number, Entry>();
  readonly #free: number[] = [];
  #unused = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** The entry's slot, from 0 up; null when the table is full. */
  add(entry: Entry): number | null {
    const slot = this.#free.pop() ?? (this.#unused < this.#capacity ? this.#unused++ : null);
    if (slot !== null) this.#entries.set(slot, entry);
    return slot;
  }

  get(slot: number): Entry | undefined {
    return this.#entries.get(slot);
  }

  delete(slot: number): void {
    if (this.#entries.delete(slot)) this.#free.push(slot);
  }

  /** A snapshot of the slots that are taken, each with its entry. */
  entries(): [number, Entry][] {
    return [...this.#entries];
  }
}
