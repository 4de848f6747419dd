// Rank 0's way to READY, in the background while the service already listens.
//
// 1. Everything that can fail without Chroma is checked first; then whose the collection is. Until then nothing changes.
// 2. The collection is built under a name of its own and swapped in only when it is complete.
// 3. READY is recorded last, under the fencing token.
// 4. A build that fails is deleted again, and so is what a build has replaced, once nobody reads it any more; what
//    could not be deleted is found by the next build.
// 5. A collection that is only attached to (`never`) is read, and nothing else.

import type { BaseLogger } from 'pino';
import type { CollectionRecord, RankZero } from '../domain/collection.ts';
import { RagmillError } from '../errors.ts';
import type { Clock } from '../time.ts';
import { attachCollection } from './attach-collection.ts';
import { BoundCollection } from './bound-collection.ts';
import type { ChromaConnection } from './chroma-client.ts';
import { buildCollection } from './collection-build.ts';
import { buildNames, checkCollectionName } from './collection-name.ts';
import {
  type CollectionIdentity,
  deleteByName,
  deleteOwn,
  removeLeftovers,
  requireOwnership,
  swapBack,
  swapIn,
} from './collection-swap.ts';
import { type CorpusSource, type CorpusSurvey, type Embedding, surveyCorpus } from './corpus-survey.ts';
import { PatientChroma } from './patient-chroma.ts';
import type { ReadyCollection } from './ready-collection.ts';

export interface BootstrapOptions {
  readonly rankZero: RankZero;
  readonly connection: ChromaConnection;
  readonly corpus: CorpusSource;
  readonly embedding: Embedding;
  readonly collectionName: string;
  /**
   * `always`: build anew at every start. `if-changed`: join the READY collection if it is what we would build. `never`:
   * use what is there, whosever it is, and change nothing.
   */
  readonly resetCollection: 'always' | 'if-changed' | 'never';
  /** How long to wait for a Chroma that cannot be reached. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly log: BaseLogger;
}

export type BootstrapState =
  | { readonly phase: 'waiting_for_rank' | 'checking' | 'connecting' }
  | { readonly phase: 'filling'; readonly done: number; readonly total: number }
  | { readonly phase: 'ready'; readonly record: CollectionRecord }
  | { readonly phase: 'failed'; readonly error: Error };

const rankPollMs = 1_000;
/** A fill tells of itself in the log at most so often. */
const progressLogMs = 10_000;
/** Builds begun anew because the collection was deleted under them, before that is an error. */
const vanishedBuildsMax = 3;
const discardTimeoutMs = 5_000;

export class Bootstrap {
  readonly #options: BootstrapOptions;
  readonly #identity: CollectionIdentity;
  #state: BootstrapState = { phase: 'checking' };
  #saidAtMs = 0;
  #rebuilding: Promise<ReadyCollection> | null = null;
  /** Questions go to the collection that is READY. At a start nobody has asked it yet. */
  #isInUse = false;
  /** Names of what builds have replaced. */
  #retired: string[] = [];

  constructor(options: BootstrapOptions) {
    this.#options = options;
    this.#identity = { name: options.collectionName, ownerId: options.rankZero.storeId };
  }

  get state(): BootstrapState {
    return this.#state;
  }

  /**
   * At start. Resolves when the collection is READY. Rejects with a RagmillError when this start cannot succeed, and
   * with the signal's reason when aborted.
   */
  run(signal: AbortSignal): Promise<ReadyCollection> {
    return this.#stating(signal, async () => {
      checkCollectionName(this.#identity.name);
      const { resetCollection, timeoutMs } = this.#options;
      if (resetCollection === 'never') return this.#attach(timeoutMs, signal);
      const ready = await this.#bringUp(resetCollection === 'if-changed', timeoutMs, signal);
      await this.removeRetired();
      this.#isInUse = true;
      return ready;
    });
  }

  /**
   * While running: a new build from the corpus as it is now in the place of whatever is under the name, if that is ours
   * or empty; or, with `never`, what is there now. Chroma is waited for `patienceMs`. Joins one that is under way.
   * Rejects as run() does; the collection in use is then still what it was.
   */
  rebuild(patienceMs: number, signal: AbortSignal): Promise<ReadyCollection> {
    this.#rebuilding ??= this.#stating(signal, () => this.#rebuild(patienceMs, signal)).finally(() => {
      this.#rebuilding = null;
    });
    return this.#rebuilding;
  }

  /** The rebuild that is under way; null: none. */
  get rebuilding(): Promise<ReadyCollection> | null {
    return this.#rebuilding;
  }

  /** Records a collection that was built elsewhere from the same as a new generation. A rebuild under way would lose its rank by it. */
  async adopt(stale: ReadyCollection, uuid: string): Promise<ReadyCollection> {
    const { rankZero, connection } = this.#options;
    const token = await rankZero.acquireRankZero();
    if (token === null) throw new RagmillError('rank_lost', 'Another process is rank 0.');
    const record = await rankZero.recordReady(token, { ...stale.record, uuid });
    return { ...stale, record, collection: new BoundCollection(connection, uuid) };
  }

  /** Deletes what builds have replaced. To be called when nobody is sent there any more. Never rejects. */
  async removeRetired(): Promise<void> {
    const names = this.#retired;
    this.#retired = [];
    const chroma = this.#patient(0, AbortSignal.timeout(discardTimeoutMs));
    try {
      const { ownerId } = this.#identity;
      for (const name of names) await chroma.wait(() => deleteOwn(chroma, { name, ownerId }));
    } catch (error) {
      this.#options.log.warn({ err: error }, 'a replaced collection is left to the next build to delete');
    }
  }

  async #stating(signal: AbortSignal, prepare: () => Promise<ReadyCollection>): Promise<ReadyCollection> {
    try {
      const ready = await prepare();
      this.#enter({ phase: 'ready', record: ready.record });
      return ready;
    } catch (error) {
      signal.throwIfAborted();
      this.#enter({ phase: 'failed', error: error instanceof Error ? error : new Error(String(error)) });
      throw error;
    }
  }

  #rebuild(patienceMs: number, signal: AbortSignal): Promise<ReadyCollection> {
    if (this.#options.resetCollection === 'never') return this.#attach(patienceMs, signal);
    return this.#bringUp(false, patienceMs, signal);
  }

  async #attach(patienceMs: number, signal: AbortSignal): Promise<ReadyCollection> {
    const { rankZero, embedding } = this.#options;
    this.#enter({ phase: 'connecting' });
    const chroma = this.#patient(patienceMs, signal);
    await chroma.greet();
    return attachCollection({ chroma, name: this.#identity.name, rankZero, embedding });
  }

  async #bringUp(mayJoin: boolean, patienceMs: number, signal: AbortSignal): Promise<ReadyCollection> {
    const { connection, corpus, embedding } = this.#options;
    for (let vanished = 0; ; vanished += 1) {
      const token = await this.#becomeRankZero(signal);
      this.#enter({ phase: 'checking' });
      const survey = await surveyCorpus(corpus, embedding, signal);
      try {
        const record = await this.#prepare({
          token,
          survey,
          mayJoin,
          chroma: this.#patient(patienceMs, signal),
        });
        return {
          record,
          collection: new BoundCollection(connection, record.uuid),
          embedder: survey.embedder,
        };
      } catch (error) {
        const isVanished = error instanceof RagmillError && error.code === 'collection_vanished';
        if (!isVanished || vanished >= vanishedBuildsMax) throw error;
        this.#options.log.warn({ reason: error.message }, 'the build was deleted under way, beginning anew');
      }
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
  async #prepare(wanted: {
    readonly token: number;
    readonly survey: CorpusSurvey;
    readonly mayJoin: boolean;
    readonly chroma: PatientChroma;
  }): Promise<CollectionRecord> {
    const { token, survey, mayJoin, chroma } = wanted;
    this.#enter({ phase: 'connecting' });
    await chroma.greet();
    const there = await requireOwnership(chroma, this.#identity);
    const current = await this.#options.rankZero.currentCollection();
    if (mayJoin && current !== null && there.kind === 'ours') {
      const isAsBuilt = there.uuid === current.uuid && there.count === current.count;
      if (isAsBuilt && current.fingerprint === survey.fingerprint) {
        await this.#removeLeftovers(chroma, current);
        return current;
      }
    }
    const { spared, taken } = await this.#removeLeftovers(chroma, current);
    const names = buildNames(this.#identity.name, token, taken);
    const record = await this.#build(wanted, names);
    this.#retired.push(names.retired, ...spared);
    return record;
  }

  async #build(
    { token, survey, chroma }: { token: number; survey: CorpusSurvey; chroma: PatientChroma },
    { build: temporaryName, retired }: { readonly build: string; readonly retired: string },
  ): Promise<CollectionRecord> {
    const { corpus, rankZero } = this.#options;
    const { name, ownerId } = this.#identity;
    const onProgress = (done: number) => this.#enter({ phase: 'filling', done, total: survey.chunkCount });
    onProgress(0);
    try {
      const building = {
        chroma,
        name: temporaryName,
        ownerId,
        corpus,
        survey,
        onProgress,
        signal: chroma.signal,
      };
      const built = await buildCollection(building);
      await swapIn(chroma, this.#identity, { uuid: built.uuid, name: temporaryName, retiredName: retired });
      return await rankZero.recordReady(token, { ...built, name, fingerprint: survey.fingerprint });
    } catch (error) {
      // Whoever is rank 0 now may be swapping as well.
      const isOurTurn = !(error instanceof RagmillError && error.code === 'rank_lost');
      await this.#discard(temporaryName, isOurTurn ? retired : null);
      throw error;
    }
  }

  /** What builds of a process that was killed have left, but for what is in use. Answers which names are not free. */
  async #removeLeftovers(chroma: PatientChroma, current: CollectionRecord | null) {
    const inUse = this.#isInUse && current !== null ? current.uuid : null;
    const { removed, spared, taken } = await removeLeftovers(chroma, this.#identity, inUse);
    if (removed.length > 0) this.#options.log.warn({ removed }, 'deleted what an earlier build has left');
    return { spared, taken: new Set([...taken, ...spared]) };
  }

  /**
   * Deletes a build that did not become READY, if it is ours, and undoes its swap, where it may have come so far. Chroma may
   * be the reason why it failed, so this is tried once only.
   */
  async #discard(temporaryName: string, retiredName: string | null): Promise<void> {
    const chroma = this.#patient(0, AbortSignal.timeout(discardTimeoutMs));
    try {
      if (retiredName !== null) {
        await swapBack(chroma, this.#identity, { buildName: temporaryName, retiredName });
      }
      const there = await requireOwnership(chroma, { ...this.#identity, name: temporaryName });
      if (there.kind === 'ours') await chroma.wait(() => deleteByName(chroma, temporaryName));
    } catch (error) {
      this.#options.log.warn({ name: temporaryName, err: error }, 'an unfinished build could not be deleted');
    }
  }

  #patient(patienceMs: number, signal: AbortSignal): PatientChroma {
    const { connection, clock, log } = this.#options;
    return new PatientChroma({ connection, patienceMs, clock, log, signal });
  }

  #enter(state: BootstrapState): void {
    const { log, clock } = this.#options;
    const isProgress = state.phase === 'filling' && this.#state.phase === 'filling';
    this.#state = state;
    if (state.phase === 'failed') {
      log.error({ reason: state.error.message }, 'the collection could not be prepared');
      return;
    }
    const isDue = !isProgress || clock.monotonicMs() - this.#saidAtMs >= progressLogMs;
    if (isDue) this.#saidAtMs = clock.monotonicMs();
    log[isDue ? 'info' : 'debug'](state, 'bootstrap');
  }
}
