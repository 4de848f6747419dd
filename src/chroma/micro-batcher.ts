// Collects items into small batches: what is queued when a slot becomes free leaves together. No timers: a lone item
// leaves at the end of the current turn of the event loop, and a busy server makes the batches larger by itself.

export interface MicroBatcherOptions<Item> {
  /** Asked at each batch. */
  readonly maxItems: () => number;
  readonly maxInFlight: number;
  /** Only items of equal group share a batch. */
  readonly groupOf: (item: Item) => string;
  /** Settles every item it is given. Must not reject. */
  readonly run: (items: readonly Item[]) => Promise<void>;
}

export class MicroBatcher<Item> {
  readonly #options: MicroBatcherOptions<Item>;
  #queue: Item[] = [];
  #inFlight = 0;
  #isScheduled = false;

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

  #flush(): void {
    while (this.#inFlight < this.#options.maxInFlight && this.#queue.length > 0) {
      this.#inFlight += 1;
      void this.#options.run(this.#takeBatch()).finally(() => {
        this.#inFlight -= 1;
        this.#flush();
      });
    }
  }

  /** The oldest item decides the group, so that no group waits behind younger ones for ever. */
  #takeBatch(): Item[] {
    const { groupOf, maxItems } = this.#options;
    const [oldest] = this.#queue;
    if (oldest === undefined) return [];
    const group = groupOf(oldest);
    const most = maxItems();
    const batch: Item[] = [];
    const rest: Item[] = [];
    for (const item of this.#queue) {
      if (batch.length < most && groupOf(item) === group) batch.push(item);
      else rest.push(item);
    }
    this.#queue = rest;
    return batch;
  }
}
