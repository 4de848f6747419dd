// The self-healing handle on our collection: who asks gets the READY build of this moment, and tells the handle when
// that build turned out to be gone.
//
// Chroma binds calls to a UUID: once the collection is deleted and created anew, the old UUID answers 404 for ever.
// 1. What became of the collection is found out once for all callers that wait, and so is its rebuilding.
// 2. A build and its embedder, number and UUID change together: nobody meets a mixture.
// 3. Who was told "gone" of a build that has been replaced meanwhile gets the new one at once.

import type { ChromaResult } from './chroma-client.ts';
import type { ReadyCollection } from './ready-collection.ts';

interface CollectionHandleOptions {
  /** Finds out what became of a build, and brings up another one where that is needed. */
  readonly heal: (stale: ReadyCollection, isCondemned: boolean) => Promise<ChromaResult<ReadyCollection>>;
  /** Called when another build is in use from now on. */
  readonly onChange: (next: ReadyCollection, previous: ReadyCollection) => void;
}

export class CollectionHandle {
  readonly #options: CollectionHandleOptions;
  #current: ReadyCollection;
  #healing: Promise<ChromaResult<ReadyCollection>> | null = null;
  #condemned: ReadyCollection | null = null;

  constructor(first: ReadyCollection, options: CollectionHandleOptions) {
    this.#current = first;
    this.#options = options;
  }

  /** The build that questions go to now. */
  get current(): ReadyCollection {
    return this.#current;
  }

  get isHealing(): boolean {
    return this.#healing !== null;
  }

  /** From now on, questions go to this build. */
  replace(next: ReadyCollection): void {
    const previous = this.#current;
    if (next === previous) return;
    this.#current = next;
    this.#options.onChange(next, previous);
  }

  /** This build does not answer although nothing seems to be wrong with it: the next healing takes it for damaged. null: none. */
  condemn(build: ReadyCollection | null): void {
    this.#condemned = build;
  }

  /** The build to use instead of one that was not found. Never rejects. */
  heal(stale: ReadyCollection): Promise<ChromaResult<ReadyCollection>> {
    if (stale !== this.#current) return Promise.resolve({ kind: 'ok', value: this.#current });
    this.#healing ??= this.#options
      .heal(stale, stale === this.#condemned)
      .then((healed) => {
        // A reset may have been quicker.
        if (stale !== this.#current) return { kind: 'ok' as const, value: this.#current };
        if (healed.kind === 'ok') this.replace(healed.value);
        return healed;
      })
      .finally(() => {
        this.#healing = null;
      });
    return this.#healing;
  }
}
