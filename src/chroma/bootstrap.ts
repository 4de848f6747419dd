// Rank 0's way to READY, in the background while the service already listens.
//
// 1. Everything that can fail without Chroma is checked first; then whose the collection is. Until then nothing changes.
// 2. The collection is built under a name of its own and swapped in only when it is complete.
// 3. READY is recorded last, under the fencing token.
// 4. A build that fails is deleted again; one that could not be deleted is found by the next start.

import type { BaseLogger } from 'pino';
import type { CollectionRecord, RankZero } from '../domain/collection.ts';
import type { Embedder } from '../domain/embedder.ts';
import type { Clock } from '../time.ts';
import type { ChromaConnection } from './chroma-client.ts';
import { buildCollection } from './collection-build.ts';
import { CollectionHandle, type CollectionHandleOptions } from './collection-handle.ts';
import { buildName, checkCollectionName } from './collection-name.ts';
import {
  type CollectionIdentity,
  deleteByName,
  removeLeftovers,
  requireOwnership,
  swapIn,
} from './collection-swap.ts';
import { type CorpusSource, type CorpusSurvey, type Embedding, surveyCorpus } from './corpus-survey.ts';
import { PatientChroma } from './patient-chroma.ts';

export interface BootstrapOptions {
  readonly rankZero: RankZero;
  readonly connection: ChromaConnection;
  readonly corpus: CorpusSource;
  readonly embedding: Embedding;
  readonly collectionName: string;
  /** `always`: build anew at every start. `if-changed`: join the READY collection if it is what we would build. */
  readonly resetCollection: 'always' | 'if-changed';
  /** How long to wait for a Chroma that cannot be reached. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly log: BaseLogger;
  readonly onRebind?: CollectionHandleOptions['onRebind'];
}

export type BootstrapState =
  | { readonly phase: 'waiting_for_rank' | 'checking' | 'connecting' }
  | { readonly phase: 'filling'; readonly done: number; readonly total: number }
  | { readonly phase: 'ready'; readonly record: CollectionRecord }
  | { readonly phase: 'failed'; readonly error: Error };

/** What retrieval needs, once the collection is READY. */
export interface ReadyCollection {
  readonly record: CollectionRecord;
  readonly collection: CollectionHandle;
  readonly embedder: Embedder;
}

const rankPollMs = 1_000;

export class Bootstrap {
  readonly #options: BootstrapOptions;
  readonly #identity: CollectionIdentity;
  #state: BootstrapState = { phase: 'checking' };

  constructor(options: BootstrapOptions) {
    this.#options = options;
    this.#identity = { name: options.collectionName, ownerId: options.rankZero.storeId };
  }

  get state(): BootstrapState {
    return this.#state;
  }

  /**
   * Resolves when the collection is READY. Rejects with a RagmillError when this start cannot succeed, and with the
   * signal's reason when aborted. To be called once.
   */
  async run(signal: AbortSignal): Promise<ReadyCollection> {
    try {
      checkCollectionName(this.#identity.name);
      const token = await this.#becomeRankZero(signal);
      const { corpus, embedding } = this.#options;
      this.#enter({ phase: 'checking' });
      const survey = await surveyCorpus(corpus, embedding);
      const record = await this.#prepare(token, survey, signal);
      this.#enter({ phase: 'ready', record });
      return { record, collection: this.#open(record), embedder: survey.embedder };
    } catch (error) {
      signal.throwIfAborted();
      this.#enter({ phase: 'failed', error: error instanceof Error ? error : new Error(String(error)) });
      throw error;
    }
  }

  async #becomeRankZero(signal: AbortSignal): Promise<number> {
    const { rankZero, clock } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      const token = await rankZero.acquireRankZero();
      if (token !== null) return token;
      this.#enter({ phase: 'waiting_for_rank' });
      await clock.sleep(rankPollMs, signal);
    }
  }

  /** The READY record of a collection that holds the corpus, built now or found as it should be. */
  async #prepare(token: number, survey: CorpusSurvey, signal: AbortSignal): Promise<CollectionRecord> {
    const { connection, clock, log, timeoutMs, rankZero, resetCollection } = this.#options;
    this.#enter({ phase: 'connecting' });
    const chroma = new PatientChroma({ connection, patienceMs: timeoutMs, clock, log, signal });
    await chroma.greet();
    const there = await requireOwnership(chroma, this.#identity);
    const current = await rankZero.currentCollection();
    if (resetCollection === 'if-changed' && current !== null && there.kind === 'ours') {
      const isAsBuilt = there.uuid === current.uuid && there.count === current.count;
      if (isAsBuilt && current.fingerprint === survey.fingerprint) return current;
    }
    return this.#rebuild(chroma, token, survey);
  }

  async #rebuild(chroma: PatientChroma, token: number, survey: CorpusSurvey): Promise<CollectionRecord> {
    const { corpus, log, rankZero } = this.#options;
    const { name, ownerId } = this.#identity;
    const removed = await removeLeftovers(chroma, this.#identity);
    if (removed.length > 0) log.warn({ removed }, 'deleted builds that an earlier start left unfinished');
    const temporaryName = buildName(name, token);
    const onProgress = (done: number) => this.#enter({ phase: 'filling', done, total: survey.chunkCount });
    onProgress(0);
    try {
      const built = await buildCollection({
        chroma,
        name: temporaryName,
        ownerId,
        corpus,
        survey,
        onProgress,
      });
      await swapIn(chroma, this.#identity, { uuid: built.uuid, name: temporaryName });
      return await rankZero.recordReady(token, { ...built, name, fingerprint: survey.fingerprint });
    } catch (error) {
      await this.#discard(temporaryName);
      throw error;
    }
  }

  /** Deletes an unfinished build, if it is ours. Chroma may be the reason why it failed, so this is tried once only. */
  async #discard(temporaryName: string): Promise<void> {
    const { connection, clock, log } = this.#options;
    const signal = AbortSignal.timeout(5_000);
    const chroma = new PatientChroma({ connection, patienceMs: 0, clock, log, signal });
    try {
      const there = await requireOwnership(chroma, { ...this.#identity, name: temporaryName });
      if (there.kind === 'ours') await chroma.wait(() => deleteByName(chroma, temporaryName));
    } catch (error) {
      log.warn({ name: temporaryName, err: error }, 'an unfinished build could not be deleted');
    }
  }

  #open(record: CollectionRecord): CollectionHandle {
    const { connection, log, onRebind } = this.#options;
    return new CollectionHandle({
      connection,
      ...this.#identity,
      uuid: record.uuid,
      log,
      ...(onRebind === undefined ? {} : { onRebind }),
    });
  }

  #enter(state: BootstrapState): void {
    const isProgress = state.phase === 'filling' && this.#state.phase === 'filling';
    this.#state = state;
    const { log } = this.#options;
    if (state.phase === 'failed')
      log.error({ reason: state.error.message }, 'the collection could not be prepared');
    else log[isProgress ? 'debug' : 'info'](state, 'bootstrap');
  }
}
