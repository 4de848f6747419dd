// Start marks: before a line's call leaves, the store knows of it. Marks of one chunk that are asked for together
// are stored together. While the disk is full nothing starts: the marks wait until there is space again.

import type { Store } from '../store/store.ts';
import type { Clock } from '../time.ts';
import type { StoreTrouble } from './store-trouble.ts';
import type { LeasedChunk, Work } from './work.ts';

export interface StartMarkerOptions {
  readonly store: Pick<Store, 'markStarted'>;
  readonly clock: Clock;
  readonly trouble: StoreTrouble;
  /** Called when the lease turned out to be lost. */
  readonly onStale: (chunk: LeasedChunk) => void;
}

interface Gathered {
  readonly lines: number[];
  readonly marked: Promise<boolean>;
}

/** Wait before a write that failed is tried again, in milliseconds. */
const RETRY_INTERVAL_MS = 1_000;

export class StartMarker {
  readonly #options: StartMarkerOptions;
  readonly #gathered = new Map<LeasedChunk, Gathered>();
  readonly #marks = new WeakMap<Work, Promise<boolean>>();
  readonly #stopped = new AbortController();

  constructor(options: StartMarkerOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the mark is stored; false: the line must not start. A line is marked once, and one that comes again
   * before that waits for the same mark.
   */
  mark(work: Work): Promise<boolean> {
    let mark = this.#marks.get(work);
    if (!mark) {
      work.isStarted = true;
      mark = this.#gather(work);
      this.#marks.set(work, mark);
    }
    return mark;
  }

  /** What waits for the disk starts no more. */
  stop(): void {
    this.#stopped.abort();
  }

  #gather({ chunk, line }: Work): Promise<boolean> {
    let gathered = this.#gathered.get(chunk);
    if (!gathered) {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      gathered = { lines: [], marked: promise };
      this.#gathered.set(chunk, gathered);
      // One turn of the loop gathers what starts together.
      setImmediate(() => {
        this.#gathered.delete(chunk);
        void this.#store(chunk, gathered?.lines ?? []).then(resolve);
      });
    }
    gathered.lines.push(line);
    return gathered.marked;
  }

  async #store(chunk: LeasedChunk, lines: readonly number[]): Promise<boolean> {
    const { store, clock, trouble, onStale } = this.#options;
    while (!this.#stopped.signal.aborted && !chunk.controller.signal.aborted) {
      try {
        const isMarked = await store.markStarted(chunk.lease, lines);
        trouble.worked();
        if (isMarked) return true;
        onStale(chunk);
        return false;
      } catch (error) {
        trouble.failed(error);
      }
      await clock.sleep(RETRY_INTERVAL_MS, this.#stopped.signal).catch(() => {});
    }
    return false;
  }
}
