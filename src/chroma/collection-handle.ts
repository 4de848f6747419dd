// The self-healing handle on our collection.
//
// Chroma binds a handle to a UUID: once the collection is deleted and created anew, the old handle answers 404 for ever.
// 1. On "not found" the collection is looked up again by name, once for all callers that wait.
// 2. The call is then made once more, and only once.
// 3. A collection that does not carry our mark is never used, whatever its name.

import type { Collection } from 'chromadb';
import type { BaseLogger } from 'pino';
import { type CallLimits, type ChromaConnection, type ChromaResult, failure } from './chroma-client.ts';
import type { FoundRecord } from './chunk-record.ts';
import { getByName, isOwnedBy } from './ownership.ts';

export interface CollectionHandleOptions {
  readonly connection: ChromaConnection;
  readonly name: string;
  readonly uuid: string;
  /** Id of our store: the mark that a re-created collection must carry. */
  readonly ownerId: string;
  readonly log: BaseLogger;
  /** Called when the handle has been bound to another UUID. */
  readonly onRebind?: (change: { from: string; to: string }) => void;
}

export interface QueryLimits extends CallLimits {
  readonly topK: number;
}

export class CollectionHandle {
  readonly #options: CollectionHandleOptions;
  #uuid: string;
  #lookup: Promise<ChromaResult<string>> | null = null;

  constructor(options: CollectionHandleOptions) {
    this.#options = options;
    this.#uuid = options.uuid;
  }

  /** The UUID that calls go to now. */
  get uuid(): string {
    return this.#uuid;
  }

  /** The nearest records of each vector, nearest first, in the order of the vectors. */
  query(vectors: readonly Float32Array[], limits: QueryLimits): Promise<ChromaResult<FoundRecord[][]>> {
    return this.#call(limits, async (collection) => {
      const found = await collection.query({
        queryEmbeddings: vectors.map((vector) => Array.from(vector)),
        nResults: limits.topK,
        include: ['documents', 'metadatas', 'distances'],
      });
      return found.rows().map((row) =>
        row.flatMap(({ id, document, metadata, distance }): FoundRecord[] => {
          if (typeof distance !== 'number' || !Number.isFinite(distance)) return [];
          return [{ id, text: document ?? '', metadata: metadata ?? {}, distance }];
        }),
      );
    });
  }

  count(limits: CallLimits): Promise<ChromaResult<number>> {
    return this.#call(limits, (collection) => collection.count());
  }

  async #call<T>(
    limits: CallLimits,
    operation: (collection: Collection) => Promise<T>,
  ): Promise<ChromaResult<T>> {
    const uuid = this.#uuid;
    const first = await this.#attempt(uuid, limits, operation);
    if (first.kind === 'ok' || first.class !== 'not_found') return first;
    const rebound = await this.#rebind(uuid, limits);
    if (rebound.kind === 'failure') return rebound;
    return this.#attempt(rebound.value, limits, operation);
  }

  #attempt<T>(
    uuid: string,
    limits: CallLimits,
    operation: (collection: Collection) => Promise<T>,
  ): Promise<ChromaResult<T>> {
    return this.#options.connection.call((client) => operation(client.collection(uuid)), limits);
  }

  /** The UUID to use instead of `stale`: another caller may have found it already, or may be looking. */
  async #rebind(stale: string, limits: CallLimits): Promise<ChromaResult<string>> {
    if (this.#uuid !== stale) return { kind: 'ok', value: this.#uuid };
    this.#lookup ??= this.#lookUpByName(limits.timeoutMs).finally(() => {
      this.#lookup = null;
    });
    return this.#lookup;
  }

  /** Shared by all waiting callers, therefore without any one caller's signal. */
  async #lookUpByName(timeoutMs: number): Promise<ChromaResult<string>> {
    const { connection, name, ownerId, log, onRebind } = this.#options;
    const looked = await connection.call(
      async (client) => {
        const collection = await getByName(client, name);
        return { uuid: collection.id, isOurs: isOwnedBy(collection, ownerId) };
      },
      { timeoutMs },
    );
    if (looked.kind === 'failure') {
      return looked.class === 'not_found' ? failure('not_found', `The collection "${name}" is gone`) : looked;
    }
    const { uuid, isOurs } = looked.value;
    if (!isOurs) return failure('not_owned', `The collection "${name}" now belongs to somebody else`);
    const from = this.#uuid;
    if (uuid !== from) {
      this.#uuid = uuid;
      log.warn({ name, from, to: uuid }, 'the collection was created anew, using the new one');
      onRebind?.({ from, to: uuid });
    }
    return { kind: 'ok', value: uuid };
  }
}
