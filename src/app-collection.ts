// The part of the composition that leads from a corpus to passages: Chroma, the bootstrap, and the retriever once
// there is a collection to ask.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { Bootstrap, type BootstrapState, type ReadyCollection } from './chroma/bootstrap.ts';
import { ChromaConnection } from './chroma/chroma-client.ts';
import { openCorpus } from './chroma/corpus-source.ts';
import { EmbeddedChroma } from './chroma/embedded-server.ts';
import { openEmbedding } from './chroma/open-embedding.ts';
import { Retriever } from './chroma/retriever.ts';
import type { Settings } from './config.ts';
import type { RankZero } from './domain/collection.ts';
import type { Metrics } from './metrics.ts';
import type { Clock } from './time.ts';

/** ragmill's own documentation: the corpus when none is set. */
const DEFAULT_CORPUS = fileURLToPath(new URL('../docs', import.meta.url));

/** What every part of the composition is built with. */
export interface Surroundings {
  readonly settings: Settings;
  readonly log: Logger;
  readonly clock: Clock;
}

/** The road from a corpus to passages: Chroma, the bootstrap and the retriever, once there is one. */
export class CollectionSide {
  readonly #around: Surroundings;
  readonly #metrics: Metrics;
  #bootstrap: Bootstrap | null = null;
  #ready: { readonly collection: ReadyCollection; readonly retriever: Retriever } | null = null;

  constructor(around: Surroundings, metrics: Metrics) {
    this.#around = around;
    this.#metrics = metrics;
  }

  /** Nothing is claimed before open() resolves, so nobody asks before that. */
  get retriever(): Retriever {
    if (!this.#ready) throw new Error('retrieval was asked for before the collection was READY');
    return this.#ready.retriever;
  }

  /** 0 before the first READY. */
  get generation(): number {
    return this.#ready?.collection.record.generation ?? 0;
  }

  get isReady(): boolean {
    return this.#ready !== null;
  }

  /** null once READY. */
  get waitingFor(): string | null {
    if (this.#ready) return null;
    return this.#bootstrap ? describeBootstrap(this.#bootstrap.state) : 'Chroma to start';
  }

  async open(rankZero: RankZero, signal: AbortSignal, opened: AsyncDisposableStack): Promise<void> {
    const { settings, log, clock } = this.#around;
    const startedAtMs = clock.monotonicMs();
    const url = settings.CHROMA_URL ?? (await this.#startEmbedded(signal, opened));
    signal.throwIfAborted();
    this.#bootstrap = new Bootstrap({
      rankZero,
      connection: new ChromaConnection({
        url,
        ...(settings.CHROMA_API_KEY === undefined ? {} : { apiKey: settings.CHROMA_API_KEY }),
        ...(settings.CHROMA_TENANT === undefined ? {} : { tenant: settings.CHROMA_TENANT }),
        ...(settings.CHROMA_DATABASE === undefined ? {} : { database: settings.CHROMA_DATABASE }),
      }),
      corpus: openCorpus({
        path: settings.CORPUS_PATH ?? DEFAULT_CORPUS,
        chunkCharacters: settings.CORPUS_CHUNK_CHARACTERS,
        log,
      }),
      embedding: openEmbedding({ settings, clock, log, signal }, opened),
      collectionName: settings.CHROMA_COLLECTION,
      resetCollection:
        settings.RESET_COLLECTION ?? (settings.CHROMA_URL === undefined ? 'always' : 'if-changed'),
      timeoutMs: settings.BOOTSTRAP_TIMEOUT_MS,
      clock,
      log,
      onRebind: () => this.#metrics.collectionRebinds.inc(),
    });
    if (settings.CORPUS_PATH === undefined) {
      log.warn(`CORPUS_PATH is not set: the corpus is ragmill's own documentation (${DEFAULT_CORPUS})`);
    }
    const collection = await this.#bootstrap.run(signal);
    const retriever = new Retriever({
      collection: collection.collection,
      embedder: collection.embedder,
      generation: collection.record.generation,
      maxAttempts: settings.RAG_MAX_ATTEMPTS,
      timeoutMs: settings.RETRIEVAL_TIMEOUT_MS,
      clock,
      log,
    });
    this.#ready = { collection, retriever };
    this.#metrics.bootstrapDuration.set((clock.monotonicMs() - startedAtMs) / 1000);
  }

  async #startEmbedded(signal: AbortSignal, opened: AsyncDisposableStack): Promise<string> {
    const { settings, log, clock } = this.#around;
    const chroma = new EmbeddedChroma({ dataDir: join(settings.DATA_DIR, 'chroma'), log, clock });
    opened.defer(() => chroma.stop());
    // A stop that comes while Chroma starts must not wait for it.
    signal.addEventListener('abort', () => void chroma.stop(), { once: true });
    return (await chroma.start()).url;
  }
}

function describeBootstrap(state: BootstrapState): string {
  switch (state.phase) {
    case 'waiting_for_rank':
      return 'another process to finish as rank 0';
    case 'checking':
      return 'the corpus to be read';
    case 'connecting':
      return 'Chroma to answer';
    case 'filling':
      return `the collection to be filled (${state.done} of ${state.total} chunks)`;
    case 'ready':
      return 'the collection to be opened';
    case 'failed':
      return state.error.message;
  }
}
