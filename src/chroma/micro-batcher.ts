// Collects items into small batches: what is queued when a slot becomes free leaves together. No timers: a lone item
// leaves at the end of the current turn of the event loop, and a busy server makes the batches larger by itself.

export interface MicroBatcherOptions<Item> {
  /** How many may share a batch with this item, itself included. Asked at each batch. */
  readonly maxItems: (item: Item) => number;
  readonly maxInFlight: number;
  /** Only items of equal group share a batch. */
  readonly groupOf: (item: Item) => string;
  /** Such an item gets a batch to itself, and nothing else is in flight meanwhile. */
  readonly isAlone: (item: Item) => boolean;
  /** Settles every item it is given, or puts it back. Must not reject. */
  readonly run: (items: readonly Item[]) => Promise<void>;
}

export class MicroBatcher<Item> {
  readonly #options: MicroBatcherOptions<Item>;
  #queue: Item[] = [];
  #inFlight = 0;
  #isScheduled = false;
  #isOneAlone = false;

  constructor(options: MicroBatcherOptions<Item>) {
    this.#options = options;
  }

  /** Queues an item; everything added in the same turn of the event loop can leave together. */
  add(item: Item): void {
    this.#queue.push(item);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  /** Takes an item back that has not left yet. */
  remove(item: Item): void {
    const at = this.#queue.indexOf(item);
    if (at >= 0) this.#queue.splice(at, 1);
  }

  /** For run(): these leave again before all others. */
  putBack(items: readonly Item[]): void {
    this.#queue = [...items, ...this.#queue];
  }

  #flush(): void {
    for (let next = this.#queue[0]; next !== undefined && this.#hasRoom(next); next = this.#queue[0]) {
      this.#inFlight += 1;
      this.#isOneAlone = this.#options.isAlone(next);
      void this.#options.run(this.#takeBatch(next)).finally(() => {
        this.#inFlight -= 1;
        this.#isOneAlone = false;
        this.#flush();
      });
    }
  }

  #hasRoom(next: Item): boolean {
    const { isAlone, maxInFlight } = this.#options;
    return !this.#isOneAlone && this.#inFlight < (isAlone(next) ? 1 : maxInFlight);
  }

  /** The oldest item decides the group, so that no group waits behind younger ones for ever. */
  #takeBatch(oldest: Item): Item[] {
    const { groupOf, isAlone, maxItems } = this.#options;
    const group = groupOf(oldest);
    let most = isAlone(oldest) ? 1 : maxItems(oldest);
    const batch: Item[] = [oldest];
    const rest: Item[] = [];
    for (const item of this.#queue.slice(1)) {
      const atMost = Math.min(most, maxItems(item));
      if (batch.length < atMost && groupOf(item) === group && !isAlone(item)) {
        batch.push(item);
        most = atMost;
      } else rest.push(item);
    }
    this.#queue = rest;
    return batch;
  }
}
