// Lines that share no beginning with others, and those that come back: in the order of their coming, but lines that want
// different endpoints do not block each other.

import type { Work } from './work.ts';

export class LineQueues {
  readonly #modelOf: (work: Work) => string | null;
  /** By model, endpoints to avoid and suspicion, in the order of their turns. */
  readonly #queues = new Map<string, Work[]>();

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
    this.#queueOf(work).unshift(work);
  }

  /** The next line that `place` finds a place for, and the place. Asks once per queue; the one that gave goes to the end. */
  take<Place>(place: (work: Work) => Place | null): { work: Work; place: Place } | null {
    for (const [key, lines] of this.#queues) {
      const [work] = lines;
      const found = work ? place(work) : null;
      if (!work || found === null) continue;
      lines.shift();
      this.#queues.delete(key);
      if (lines.length > 0) this.#queues.set(key, lines);
      return { work, place: found };
    }
    return null;
  }

  /** Takes out all lines that match. */
  remove(matches: (work: Work) => boolean): Work[] {
    const removed: Work[] = [];
    for (const [key, lines] of this.#queues) {
      const kept = lines.filter((work) => !matches(work));
      if (kept.length < lines.length) removed.push(...lines.filter(matches));
      if (kept.length === 0) this.#queues.delete(key);
      // Set in place, not deleted and set again: the queue keeps its turn, and this loop comes to an end.
      else this.#queues.set(key, kept);
    }
    return removed;
  }

  models(): Set<string | null> {
    const models = new Set<string | null>();
    for (const [work] of this.#queues.values()) if (work) models.add(this.#modelOf(work));
    return models;
  }

  #queueOf(work: Work): Work[] {
    const avoided = [...work.state.avoid].sort().join();
    const key = [this.#modelOf(work) ?? '', avoided, work.isSuspect].join('\n');
    const queue = this.#queues.get(key) ?? [];
    this.#queues.set(key, queue);
    return queue;
  }
}
