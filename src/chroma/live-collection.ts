// The collection in use: asked, watched, healed and reset, from its first READY to the stop of the service.

import type { BaseLogger } from 'pino';
import type { RetrievalOutcome } from '../domain/passage.ts';
import { RagmillError } from '../errors.ts';
import type { Clock } from '../time.ts';
import type { Bootstrap } from './bootstrap.ts';
import type { ChromaConnection } from './chroma-client.ts';
import { CollectionHandle } from './collection-handle.ts';
import { healCollection } from './collection-healing.ts';
import { watchCollection } from './collection-watch.ts';
import { Outage, type OutageCause } from './outage.ts';
import type { RetrievalWish } from './passage-search.ts';
import type { ReadyCollection } from './ready-collection.ts';
import { RebuildPace } from './rebuild-pace.ts';
import { probeRetrieval } from './retrieval-probe.ts';
import { Retriever } from './retriever.ts';

export interface LiveCollectionOptions {
  readonly bootstrap: Bootstrap;
  readonly connection: ChromaConnection;
  readonly ownerId: string;
  /** It is somebody else's: it is only ever read, and may be emptied by its owner. */
  readonly isAttached: boolean;
  /** How long a reset waits for a Chroma that is away. */
  readonly patienceMs: number;
  /** Attempts that fail by themselves before a question fails. */
  readonly maxAttempts: number;
  /** Deadline of one call. */
  readonly timeoutMs: number;
  /** How long an outage is waited out. */
  readonly outageMs: number;
  /** Called when another build is in use from now on. */
  readonly onChange: (next: ReadyCollection) => void;
  /** Called when that came about by healing. */
  readonly onHealed: () => void;
  readonly clock: Clock;
  readonly log: BaseLogger;
}

export class LiveCollection {
  readonly #options: LiveCollectionOptions;
  readonly #stopped = new AbortController();
  readonly #handle: CollectionHandle;
  readonly #outage: Outage;
  readonly #retriever: Retriever;
  #resetting: Promise<void> | null = null;
  #damage: string | null = null;

  constructor(first: ReadyCollection, options: LiveCollectionOptions) {
    this.#options = options;
    const { clock, log, bootstrap } = options;
    const { signal } = this.#stopped;
    const limits = { timeoutMs: options.timeoutMs };
    const pace = new RebuildPace(clock);
    this.#handle = new CollectionHandle(first, {
      heal: async (stale, isCondemned) => {
        const healed = await healCollection(stale, { ...options, limits, signal, isCondemned, pace });
        if (healed.kind === 'ok' && healed.value !== stale) options.onHealed();
        return healed;
      },
      onChange: (next) => {
        this.#damage = null;
        options.onChange(next);
        // Whoever still reads the old build is told that it is gone, and asks the new one.
        void bootstrap.removeRetired();
      },
    });
    this.#outage = new Outage({
      probe: async () => {
        const cause = await probeRetrieval(this.#handle, limits);
        if (cause === null) pace.reset();
        return cause;
      },
      maxWaitMs: options.outageMs,
      clock,
      log,
      signal,
    });
    this.#retriever = new Retriever({ ...options, handle: this.#handle, outage: this.#outage });
    void watchCollection({
      handle: this.#handle,
      outage: this.#outage,
      leastRecords: ({ record }) => (options.isAttached ? 1 : record.count),
      onLook: (damage) => {
        this.#damage = damage;
      },
      limits,
      clock,
      signal,
    });
  }

  get current(): ReadyCollection {
    return this.#handle.current;
  }

  /** Questions under way. */
  get pending(): number {
    return this.#retriever.pending;
  }

  /** What is the matter, since when it has been; null: nothing. */
  get outage(): (OutageCause & { readonly durationMs: number }) | null {
    const { cause, durationMs } = this.#outage;
    return cause === null ? null : { ...cause, durationMs };
  }

  /** The collection has lost something and could not be built again, although questions are answered; null: it has not. */
  get damage(): string | null {
    return this.#damage;
  }

  /** The collection is being found or built again, and questions wait for that. */
  get isHealing(): boolean {
    return this.#handle.isHealing;
  }

  get isResetting(): boolean {
    return this.#resetting !== null;
  }

  /** Rejects only with the signal's reason. */
  retrieve(query: string, wish: RetrievalWish, signal?: AbortSignal): Promise<RetrievalOutcome> {
    return this.#retriever.retrieve(query, wish, signal);
  }

  /** Throws `collection_read_only` and `collection_busy` where a reset cannot begin now. */
  requireResettable(): void {
    if (this.#options.isAttached) {
      throw new RagmillError(
        'collection_read_only',
        'RESET_COLLECTION=never only reads the collection. Whoever fills it has to reset it.',
      );
    }
    if (this.#resetting || this.isHealing) {
      throw new RagmillError(
        'collection_busy',
        'The collection is being built already. See GET /collection.',
      );
    }
  }

  /**
   * Begins to build the collection anew from the corpus as it is now; until the new build is READY, questions go to the
   * one in use. `prepare` runs first, and only where the reset has begun; resolves or rejects with it. Throws as
   * requireResettable() does.
   */
  reset(prepare: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    this.requireResettable();
    const prepared = prepare();
    this.#resetting = prepared
      .then(
        () => this.#rebuild(),
        () => {
          // Told to whoever asked for the reset.
        },
      )
      .finally(() => {
        this.#resetting = null;
      });
    return prepared;
  }

  async #rebuild(): Promise<void> {
    const { bootstrap, patienceMs, log } = this.#options;
    try {
      this.#handle.replace(await bootstrap.rebuild(patienceMs, this.#stopped.signal));
    } catch (error) {
      if (!this.#stopped.signal.aborted) log.error({ err: error }, 'the collection could not be reset');
    }
  }

  /** Ends the watching, a reset and all waiting for an outage. */
  async stop(): Promise<void> {
    this.#stopped.abort(new RagmillError('shutting_down', 'The service is stopping.'));
    await this.#resetting;
  }
}
