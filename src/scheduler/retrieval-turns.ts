// Whose question goes to retrieval next: few are there at a time, and batches share what it does by their priority, so that a
// small batch does not wait behind all that a huge one has in hand.

import { PRIORITY_WEIGHTS } from '../domain/priority.ts';
import { FairTurns } from './fair-turns.ts';
import type { LeasedChunk } from './work.ts';

/**
 * Enough for two calls of a size from which on more questions a call save nothing (npm run bench:retrieval-cost). Twice as
 * many make the event loop later by a third (npm run bench:event-loop): what one call finds comes at once.
 */
const AT_ONCE_MAX = 64;

export class RetrievalTurns {
  readonly #turns = new FairTurns();
  /** By batch, in the order of their coming: each lets its line go. */
  readonly #waiting = new Map<string, Set<() => void>>();
  #inside = 0;

  /** Runs `retrieve` when it is the line's turn; at once, out of turn, when its chunk's lines are to wait no longer. */
  async run<Outcome>(chunk: LeasedChunk, retrieve: () => Promise<Outcome>): Promise<Outcome> {
    if (this.#inside < AT_ONCE_MAX) this.#inside += 1;
    else await this.#turnOf(chunk);
    try {
      return await retrieve();
    } finally {
      this.#inside -= 1;
      this.#next();
    }
  }

  #turnOf({ lease: { batchId }, priority, retrieving }: LeasedChunk): Promise<void> {
    const row = this.#waiting.get(batchId) ?? new Set();
    this.#waiting.set(batchId, row);
    this.#turns.join(batchId, PRIORITY_WEIGHTS[priority]);
    return new Promise((resolve) => {
      const go = () => {
        this.#inside += 1;
        row.delete(go);
        retrieving.signal.removeEventListener('abort', go);
        if (row.size === 0 && this.#waiting.get(batchId) === row) {
          this.#waiting.delete(batchId);
          this.#turns.leave(batchId);
        }
        resolve();
      };
      row.add(go);
      retrieving.signal.addEventListener('abort', go, { once: true });
    });
  }

  #next(): void {
    if (this.#inside >= AT_ONCE_MAX) return;
    const [batchId] = this.#turns.inTurn();
    const [go] = (batchId === undefined ? undefined : this.#waiting.get(batchId)) ?? [];
    if (batchId === undefined || go === undefined) return;
    this.#turns.charge(batchId, 1);
    go();
  }
}
