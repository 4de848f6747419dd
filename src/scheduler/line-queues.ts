// Lines that share no beginning with others, and those that come back: in the order of their coming, but lines that want
// different endpoints do not block each other.

import type { Work } from './work.ts';

export class LineQueues {
  readonly #modelOf: (work: Work) => string | null;
  /** By model, endpoints to avoid and suspicion, in the order of their turns. */
  readonly #queues = new Map<string, Queue>();

  constructor(modelOf: (work: Work) => string | null) {
    this.#modelOf = modelOf;
  }

  get isEmpty(): boolean {
    return this.#queues.size === 0;
  }

  push(work: Work): void {
    this.#queueOf(work).push(work);
  }

  pushFront(work: Work): void {
    this.#queueOf(work).pushFront(work);
  }

  /** The next line that `place` finds a place for, and the place. Asks once per queue; the one that gave goes to the end. */
  take<Place>(place: (work: Work) => Place | null): { work: Work; place: Place } | null {
    for (const [key, lines] of this.#queues) {
      const work = lines.first;
      const found = work ? place(work) : null;
      if (!work || found === null) continue;
      lines.dropFirst();
      if (!lines.first) this.#queues.delete(key);
      else if (this.#queues.size > 1) {
        this.#queues.delete(key);
        this.#queues.set(key, lines);
      }
      return { work, place: found };
    }
    return null;
  }

  /** Takes out all lines that match. */
  remove(matches: (work: Work) => boolean): Work[] {
    const removed: Work[] = [];
    for (const [key, lines] of this.#queues) {
      removed.push(...lines.remove(matches));
      // One that stays is left where it is: it keeps its turn.
      if (!lines.first) this.#queues.delete(key);
    }
    return removed;
  }

  models(): Set<string | null> {
    const models = new Set<string | null>();
    for (const { first } of this.#queues.values()) if (first) models.add(this.#modelOf(first));
    return models;
  }

  #queueOf(work: Work): Queue {
    const { avoid } = work.state;
    const avoided = avoid.size === 0 ? '' : [...avoid].sort().join();
    const key = `${this.#modelOf(work) ?? ''}\n${avoided}\n${work.isSuspect}`;
    let queue = this.#queues.get(key);
    if (!queue) {
      queue = new Queue();
      this.#queues.set(key, queue);
    }
    return queue;
  }
}

/** Taking the first costs the same however many there are: of a long array, shift() moves all others. */
class Queue {
  /** The first ones, the very first last. */
  #next: Work[] = [];
  /** Behind them, in their order. */
  #later: Work[] = [];

  get first(): Work | undefined {
    if (this.#next.length === 0 && this.#later.length > 0) {
      this.#next = this.#later.reverse();
      this.#later = [];
    }
    return this.#next.at(-1);
  }

  push(work: Work): void {
    this.#later.push(work);
  }

  pushFront(work: Work): void {
    this.#next.push(work);
  }

  /** Of a queue whose first one was looked at. */
  dropFirst(): void {
    this.#next.pop();
  }

  /** Takes out all that match. */
  remove(matches: (work: Work) => boolean): Work[] {
    const lines = [...this.#next.toReversed(), ...this.#later];
    const removed = lines.filter(matches);
    if (removed.length > 0) {
      this.#next = [];
      this.#later = lines.filter((work) => !matches(work));
    }
    return removed;
  }
}
