// Suspects, lines that were started whenever the process died, go on one at a time.

import type { Work } from './work.ts';

export class SuspectLane {
  readonly #waiting: Work[] = [];
  #running: Work | null = null;

  /** true: it may go on now; else it waits for its turn. */
  enter(work: Work): boolean {
    if (this.#running === null) {
      this.#running = work;
      return true;
    }
    this.#waiting.push(work);
    return false;
  }

  /** A line has ended; answers the suspect whose turn it is now, if any. */
  leave(work: Work): Work | null {
    if (work !== this.#running) return null;
    this.#running = this.#waiting.shift() ?? null;
    return this.#running;
  }

  /** Takes out those that match; answers them, and the suspect whose turn it is now. */
  remove(matches: (work: Work) => boolean): { removed: Work[]; next: Work | null } {
    const removed = this.#waiting.filter(matches);
    const kept = this.#waiting.filter((work) => !matches(work));
    this.#waiting.splice(0, this.#waiting.length, ...kept);
    if (this.#running === null || !matches(this.#running)) return { removed, next: null };
    return { removed, next: this.leave(this.#running) };
  }
}
