// A bounded table that hands out small numbers for its entries and reuses those that were given back.

export class SlotTable<Entry> {
  readonly #capacity: number;
  /** By slot; null: given back. A Map that much goes through would keep what it had alive for long. */
  readonly #entries: (Entry | null)[] = [];
  readonly #free: number[] = [];

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** The entry's slot, from 0 up; null when the table is full. */
  add(entry: Entry): number | null {
    const isFull = this.#free.length === 0 && this.#entries.length >= this.#capacity;
    if (isFull) return null;
    const slot = this.#free.pop() ?? this.#entries.length;
    this.#entries[slot] = entry;
    return slot;
  }

  get(slot: number): Entry | null {
    return this.#entries[slot] ?? null;
  }

  delete(slot: number): void {
    if (this.get(slot) === null) return;
    this.#entries[slot] = null;
    this.#free.push(slot);
  }

  /** A snapshot of the slots that are taken, each with its entry. */
  entries(): [number, Entry][] {
    return this.#entries.flatMap((entry, slot): [number, Entry][] => (entry === null ? [] : [[slot, entry]]));
  }
}
