// The thread of the embedding cache: whatever goes wrong with its file, every call is answered, and a trouble is told.

import { parentPort, workerData } from 'node:worker_threads';
import {
  type CacheBuild,
  type CachedVector,
  EmbeddingCacheDatabase,
  isDamage,
} from './embedding-cache-database.ts';

export interface CacheSettings {
  readonly path: string;
  /** Free disk that is left to others. */
  readonly minFreeBytes: number;
}

export type CacheCall = { readonly id: number } & (
  | { readonly method: 'begin'; readonly name: string; readonly probe: Float32Array }
  | { readonly method: 'find'; readonly build: CacheBuild; readonly hashes: readonly Uint8Array[] }
  | {
      readonly method: 'keep';
      readonly build: CacheBuild;
      readonly hashes: readonly Uint8Array[];
      readonly vectors: readonly CachedVector[];
    }
  | { readonly method: 'complete'; readonly build: CacheBuild }
  | { readonly method: 'close' }
);

/** `value`: what begin() and find() answer; null where the cache has nothing to say. */
export interface CacheAnswer {
  readonly id: number;
  readonly value: CacheBuild | (CachedVector | null)[] | null;
  readonly trouble: string | null;
}

class CacheThread {
  readonly #settings: CacheSettings;
  #database: EmbeddingCacheDatabase | null = null;
  #begun: Extract<CacheCall, { method: 'begin' }> | null = null;
  /** After a write that failed nothing is written until the next build. */
  #isWritable = true;

  constructor(settings: CacheSettings) {
    this.#settings = settings;
  }

  answer(call: CacheCall): CacheAnswer {
    const { id } = call;
    try {
      return { id, value: this.#run(call), trouble: null };
    } catch (error) {
      const trouble = error instanceof Error ? error.message : String(error);
      if (!isDamage(error)) return { id, value: null, trouble };
      const build = this.#startAnew();
      return { id, value: call.method === 'begin' ? build : null, trouble: `${trouble}; it was thrown away` };
    }
  }

  #run(call: CacheCall): CacheAnswer['value'] {
    switch (call.method) {
      case 'begin':
        this.#begun = call;
        return this.#begin(call);
      case 'find':
        return this.#database?.find(call.build, call.hashes) ?? null;
      case 'keep':
        this.#keep(call);
        return null;
      case 'complete':
        this.#database?.complete(call.build);
        this.#shrink();
        return null;
      case 'close':
        this.#database?.close();
        this.#database = null;
        return null;
    }
  }

  #keep({ build, hashes, vectors }: Extract<CacheCall, { method: 'keep' }>): void {
    if (this.#database === null || !this.#isWritable) return;
    this.#isWritable = false;
    if (this.#database.freeDiskBytes < this.#settings.minFreeBytes)
      throw new Error('the disk is nearly full');
    this.#database.keep(build, hashes, vectors);
    this.#isWritable = true;
  }

  /** Piece by piece: whoever calls in between waits for one of them only. */
  #shrink(): void {
    try {
      if (this.#database?.shrink()) setImmediate(() => this.#shrink());
    } catch {
      // What stays is dropped after the next build.
    }
  }

  #begin({ name, probe }: Extract<CacheCall, { method: 'begin' }>): CacheBuild {
    this.#isWritable = true;
    this.#database ??= new EmbeddingCacheDatabase(this.#settings.path);
    return this.#database.begin(name, probe);
  }

  /** A build in a new file; null when there can be none. */
  #startAnew(): CacheBuild | null {
    try {
      this.#database?.close();
    } catch {
      // It is damaged.
    }
    this.#database = null;
    try {
      EmbeddingCacheDatabase.remove(this.#settings.path);
      return this.#begun === null ? null : this.#begin(this.#begun);
    } catch {
      return null;
    }
  }
}

const port = parentPort;
if (port) {
  const thread = new CacheThread(workerData);
  port.on('message', (call: CacheCall) => {
    port.postMessage(thread.answer(call));
    if (call.method === 'close') port.close();
  });
}
