// Embeddings of passages, kept on disk from build to build: a reset does not embed an unchanged corpus again.
//
// 1. Nothing depends on it: damage, a full disk or a thread that ends make it forget, never fail.
// 2. Its file is read and written in a thread of its own; the event loop only hashes texts and copies vectors: 7 to 13 ms for
//    500 texts of 1,024 numbers each (99th percentile of its delay; once, by hand, with 50,000 texts on two busy cores).
// 3. It remembers the probes of embedders too, as the reference by which they are known again.

import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { BaseLogger } from 'pino';
import { probeKey } from './embedder-probe.ts';
import type { CacheBuild, CachedVector } from './embedding-cache-database.ts';
import type { CacheAnswer, CacheCall, CacheSettings } from './embedding-cache-thread.ts';

export interface EmbeddingCacheOptions extends CacheSettings {
  readonly log: BaseLogger;
  /** How long an answer of the thread is waited for before the cache is given up. */
  readonly timeoutMs?: number;
}

type Unnumbered<Call> = Call extends unknown ? Omit<Call, 'id'> : never;

const DEFAULT_TIMEOUT_MS = 30_000;

export class EmbeddingCache {
  readonly #log: BaseLogger;
  readonly #timeoutMs: number;
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  readonly #waiting = new Map<number, (value: CacheAnswer['value']) => void>();
  #lastId = 0;
  #isOff = false;

  constructor({ log, timeoutMs = DEFAULT_TIMEOUT_MS, ...settings }: EmbeddingCacheOptions) {
    this.#log = log;
    this.#timeoutMs = timeoutMs;
    this.#worker = new Worker(new URL('./embedding-cache-thread.ts', import.meta.url), {
      workerData: settings,
    });
    this.#worker.on('message', (answer: CacheAnswer) => this.#settle(answer));
    this.#ended = new Promise((resolve) => {
      this.#worker.on('error', (error) => this.#giveUp(error.message));
      this.#worker.on('exit', () => {
        this.#turnOff();
        resolve();
      });
    });
  }

  /** Starts a build. Its key is that of what this embedder makes: the same as before, if its probe is the same but for noise. */
  async begin(name: string, probe: Float32Array): Promise<CacheBuild> {
    const build = await this.#call({ method: 'begin', name, probe });
    return build !== null && 'key' in build ? build : { key: probeKey(name, probe), number: 0 };
  }

  /** What is known of the texts, in their order. */
  async find(build: CacheBuild, texts: readonly string[]): Promise<(CachedVector | null)[]> {
    const found = await this.#call({ method: 'find', build, hashes: texts.map(hashOf) });
    return Array.isArray(found) ? found : texts.map(() => null);
  }

  async keep(build: CacheBuild, texts: readonly string[], vectors: readonly CachedVector[]): Promise<void> {
    if (texts.length > 0) await this.#call({ method: 'keep', build, hashes: texts.map(hashOf), vectors });
  }

  /** The build has found or kept all its texts: what older builds alone have used can go. */
  async complete(build: CacheBuild): Promise<void> {
    await this.#call({ method: 'complete', build });
  }

  async close(): Promise<void> {
    await this.#call({ method: 'close' });
    this.#turnOff();
    await this.#ended;
  }

  #call(call: Unnumbered<CacheCall>): Promise<CacheAnswer['value']> {
    if (this.#isOff) return Promise.resolve(null);
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#giveUp('its disk does not answer'), this.#timeoutMs);
      this.#waiting.set(id, (value) => {
        clearTimeout(timer);
        resolve(value);
      });
      this.#worker.postMessage({ ...call, id });
    });
  }

  #settle({ id, value, trouble }: CacheAnswer): void {
    if (trouble !== null) this.#log.warn({ reason: trouble }, 'the embedding cache is of no use now');
    this.#waiting.get(id)?.(value);
    this.#waiting.delete(id);
  }

  #giveUp(reason: string): void {
    if (!this.#isOff) this.#log.warn({ reason }, 'the embedding cache is given up');
    this.#turnOff();
    void this.#worker.terminate();
  }

  #turnOff(): void {
    this.#isOff = true;
    for (const resolve of this.#waiting.values()) resolve(null);
    this.#waiting.clear();
  }
}

function hashOf(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}
