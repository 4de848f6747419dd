// Start marks: before a line's call leaves, the store knows of it. Marks of one chunk that are asked for together, or while
// the store is at the last ones, are stored together. While the disk is full nothing starts: the marks wait until there is
// space again.

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
  readonly settle: (isMarked: boolean) => void;
}

/** Wait before a write that failed is tried again, in milliseconds. */
const RETRY_INTERVAL_MS = 1_000;

export class StartMarker {
  readonly #options: StartMarkerOptions;
  readonly #gathered = new Map<LeasedChunk, Gathered>();
  /** Chunks with marks that the store has not answered for. */
  readonly #asked = new Set<LeasedChunk>();
  readonly #stopped = new AbortController();

  constructor(options: StartMarkerOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the mark is stored; false: the line must not start. A line is marked once, and one that comes again
   * before that waits for the same mark.
   */
  mark(work: Work): Promise<boolean> {
    if (work.startMark === null) {
      work.isStarted = true;
      work.startMark = this.#gather(work);
    }
    return work.startMark;
  }

  /** What waits for the disk starts no more. */
  stop(): void {
    this.#stopped.abort();
  }

  #gather({ chunk, line }: Work): Promise<boolean> {
    let gathered = this.#gathered.get(chunk);
    if (!gathered) {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      gathered = { lines: [], marked: promise, settle: resolve };
      this.#gathered.set(chunk, gathered);
      // One turn of the loop gathers what starts together.
      if (!this.#asked.has(chunk)) setImmediate(() => this.#flush(chunk));
    }
    gathered.lines.push(line);
    return gathered.marked;
  }

  #flush(chunk: LeasedChunk): void {
    const gathered = this.#gathered.get(chunk);
    if (!gathered) return;
    this.#gathered.delete(chunk);
    void this.#store(chunk, gathered.lines).then(gathered.settle);
  }

  async #store(chunk: LeasedChunk, lines: readonly number[]): Promise<boolean> {
    const { clock, trouble, onStale } = this.#options;
    while (!this.#stopped.signal.aborted && !chunk.controller.signal.aborted) {
      try {
        const isMarked = await this.#ask(chunk, lines);
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

  /** Whatever the answer is, what has come meanwhile goes next. */
  async #ask(chunk: LeasedChunk, lines: readonly number[]): Promise<boolean> {
    this.#asked.add(chunk);
    try {
      return await this.#options.store.markStarted(chunk.lease, lines);
    } finally {
      this.#asked.delete(chunk);
      this.#flush(chunk);
    }
  }
}
