// Lines that are ready for a model server, waiting for one that has room. Batches take turns, so that a small one
// is not stuck behind a huge one; within a batch, lines that want different endpoints do not block each other.

import type { Work } from './work.ts';

interface Queue {
  readonly lines: Work[];
}

export class Feed {
  /** By batch, model, endpoints to avoid and suspicion, in the order of their turns. */
  readonly #queues = new Map<string, Queue>();

  get isEmpty(): boolean {
    return this.#queues.size === 0;
  }

  get lines(): number {
    return this.#queues.values().reduce((sum, queue) => sum + queue.lines.length, 0);
  }

  push(work: Work): void {
    this.#queue(work).lines.push(work);
  }

  /** A line that comes back from a failed try goes first. */
  pushFront(work: Work): void {
    this.#queue(work).lines.unshift(work);
  }

  /**
   * The next line that `place` finds a place for, and the place. Asks once per queue, in the order of turns; the
   * queue that was served goes to the end.
   */
  take<Place>(place: (work: Work) => Place | null): { work: Work; place: Place } | null {
    for (const [key, queue] of this.#queues) {
      const [work] = queue.lines;
      const found = work ? place(work) : null;
      if (!work || found === null) continue;
      queue.lines.shift();
      this.#queues.delete(key);
      if (queue.lines.length > 0) this.#queues.set(key, queue);
      return { work, place: found };
    }
    return null;
  }

  /** Takes out all lines that match. */
  remove(matches: (work: Work) => boolean): Work[] {
    const removed: Work[] = [];
    for (const [key, queue] of this.#queues) {
      const kept = queue.lines.filter((work) => !matches(work));
      removed.push(...queue.lines.filter(matches));
      if (kept.length === 0) this.#queues.delete(key);
      // Set in place, not deleted and set again: the queue keeps its turn, and this loop comes to an end.
      else this.#queues.set(key, { lines: kept });
    }
    return removed;
  }

  #queue(work: Work): Queue {
    const { model } = work.parsed.options;
    const avoided = [...work.avoid].sort().join();
    const key = [work.chunk.lease.batchId, model ?? '', avoided, work.isSuspect].join('\n');
    let queue = this.#queues.get(key);
    if (!queue) {
      queue = { lines: [] };
      this.#queues.set(key, queue);
    }
    return queue;
  }
}
