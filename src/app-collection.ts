// The part of the composition that leads from a corpus to passages: Chroma, the bootstrap, and the retriever once
// there is a collection to ask.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { Bootstrap, type BootstrapOptions, type BootstrapState } from './chroma/bootstrap.ts';
import { ChromaConnection } from './chroma/chroma-client.ts';
import { type FileCorpus, openCorpus } from './chroma/corpus-source.ts';
import { EmbeddedChroma } from './chroma/embedded-server.ts';

import { LiveCollection } from './chroma/live-collection.ts';
import { openEmbedding } from './chroma/open-embedding.ts';
import type { RetrievalWish } from './chroma/passage-search.ts';

import type { Settings } from './config.ts';
import type { RankZero } from './domain/collection.ts';
import type { RetrievalOutcome } from './domain/passage.ts';
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

/** The road from a corpus to passages: what there is of it before the first READY, and the live collection afterwards. */
export class CollectionSide {
  readonly #around: Surroundings;
  readonly #metrics: Metrics;
  #bootstrap: Bootstrap | null = null;
  #corpus: FileCorpus | null = null;
  #live: LiveCollection | null = null;
  /** Called when another build is in use from now on. */
  onChange: () => void = () => {};

  constructor(around: Surroundings, metrics: Metrics) {
    this.#around = around;
    this.#metrics = metrics;
  }

  get name(): string {
    return this.#around.settings.CHROMA_COLLECTION;
  }

  /** null before the first READY; nothing is claimed before open() resolves. */
  get live(): LiveCollection | null {
    return this.#live;
  }

  get bootstrapState(): BootstrapState | null {
    return this.#bootstrap?.state ?? null;
  }

  get corpus(): FileCorpus | null {
    return this.#corpus;
  }

  /** 0 before the first READY. */
  get generation(): number {
    return this.#live?.current.record.generation ?? 0;
  }

  get isReady(): boolean {
    return this.#live !== null;
  }

  /** What retrieval waits for; null when nothing is in its way. */
  get waitingFor(): string | null {
    if (!this.#live) return this.#bootstrap ? describeBootstrap(this.#bootstrap.state) : 'Chroma to start';
    const { outage, isHealing } = this.#live;
    if (outage)
      return `retrieval to work again, for ${Math.round(outage.durationMs / 1000)} s now: ${outage.message}`;
    if (!isHealing || !this.#bootstrap) return null;
    const { state } = this.#bootstrap;
    return state.phase === 'ready' ? 'the collection to be found again' : describeBootstrap(state);
  }

  /** What of it works less well than it should, once it was READY. */
  get troubles(): string[] {
    if (!this.#live) return [];
    const { outage, isHealing, damage } = this.#live;
    if (outage) return [`${outage.dependency}_unavailable`];
    if (isHealing) return ['collection_healing'];
    return damage === null ? [] : ['collection_damaged'];
  }

  retrieve(query: string, wish: RetrievalWish, signal: AbortSignal): Promise<RetrievalOutcome> {
    if (!this.#live) throw new Error('retrieval was asked for before the collection was READY');
    return this.#live.retrieve(query, wish, signal);
  }

  async open(rankZero: RankZero, signal: AbortSignal, opened: AsyncDisposableStack): Promise<void> {
    const { settings, log, clock } = this.#around;
    const startedAtMs = clock.monotonicMs();
    const connection = await this.#connect(signal, opened);
    signal.throwIfAborted();
    const corpus = openCorpus({
      path: settings.CORPUS_PATH ?? DEFAULT_CORPUS,
      chunkCharacters: settings.CORPUS_CHUNK_CHARACTERS,
      log,
    });
    const resetCollection = resetModeOf(settings);
    // Only attached to, the collection has nothing to do with a corpus here.
    if (resetCollection !== 'never') this.#corpus = corpus;
    const bootstrap = new Bootstrap({
      rankZero,
      connection,
      corpus,
      embedding: openEmbedding({ settings, clock, log, signal }, opened),
      collectionName: settings.CHROMA_COLLECTION,
      resetCollection,
      timeoutMs: settings.BOOTSTRAP_TIMEOUT_MS,
      clock,
      log,
    });
    this.#bootstrap = bootstrap;
    if (usesDefaultCorpus(settings)) {
      log.warn(`CORPUS_PATH is not set: the corpus is ragmill's own documentation (${DEFAULT_CORPUS})`);
    }
    const first = await bootstrap.run(signal);
    this.#live = opened.adopt(
      new LiveCollection(first, {
        bootstrap,
        connection,
        ownerId: rankZero.storeId,
        isAttached: resetCollection === 'never',
        patienceMs: settings.BOOTSTRAP_TIMEOUT_MS,
        maxAttempts: settings.RAG_MAX_ATTEMPTS,
        timeoutMs: settings.RETRIEVAL_TIMEOUT_MS,
        outageMs: settings.RAG_OUTAGE_MS,
        onChange: () => this.onChange(),
        onHealed: () => this.#metrics.collectionRebinds.inc(),
        clock,
        log,
      }),
      (live) => live.stop(),
    );
    this.#metrics.bootstrapDuration.set((clock.monotonicMs() - startedAtMs) / 1000);
  }

  async #connect(signal: AbortSignal, opened: AsyncDisposableStack): Promise<ChromaConnection> {
    const { settings } = this.#around;
    return new ChromaConnection({
      url: settings.CHROMA_URL ?? (await this.#startEmbedded(signal, opened)),
      ...(settings.CHROMA_API_KEY === undefined ? {} : { apiKey: settings.CHROMA_API_KEY }),
      ...(settings.CHROMA_TENANT === undefined ? {} : { tenant: settings.CHROMA_TENANT }),
      ...(settings.CHROMA_DATABASE === undefined ? {} : { database: settings.CHROMA_DATABASE }),
    });
  }

  async #startEmbedded(signal: AbortSignal, opened: AsyncDisposableStack): Promise<string> {
    const { settings, log, clock } = this.#around;
    const chroma = new EmbeddedChroma({ dataDir: join(settings.DATA_DIR, 'chroma'), log, clock });
    opened.defer(() => chroma.stop());
    // A stop that comes while Chroma starts must not wait for it; one that comes later needs it until the work has ended.
    const stop = () => void chroma.stop();
    signal.addEventListener('abort', stop, { once: true });
    try {
      return (await chroma.start()).url;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }
}

/** Nobody has said what the corpus is, and one is needed. */
export function usesDefaultCorpus(settings: Settings): boolean {
  return settings.CORPUS_PATH === undefined && resetModeOf(settings) !== 'never';
}

function resetModeOf({ RESET_COLLECTION, CHROMA_URL }: Settings): BootstrapOptions['resetCollection'] {
  return RESET_COLLECTION ?? (CHROMA_URL === undefined ? 'always' : 'if-changed');
}

function describeBootstrap(state: BootstrapState): string {
  switch (state.phase) {
    case 'waiting_for_rank':
      return 'another process to finish as rank 0';
    case 'checking':
      return 'the corpus to be read, and the embedder to answer';
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
