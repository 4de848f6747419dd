// Calls to one collection, by its UUID: they reach this build of it or nothing, whatever stands under its name by now.

import type { Where as ChromaWhere, Collection, Metadata, QueryRowResult } from 'chromadb';
import type { Embedder } from '../domain/embedder.ts';
import type { Where } from '../domain/where.ts';
import { type CallLimits, type ChromaConnection, type ChromaResult, failure } from './chroma-client.ts';
import { type FoundRecord, indexedTextOf } from './chunk-record.ts';
import { cosine } from './cosine.ts';

export interface QueryLimits extends CallLimits {
  readonly topK: number;
  /** Only records whose metadata match; null: all. */
  readonly where?: Where | null;
}

/** Records compared when a collection has to prove that it holds this embedder's vectors. */
const PROOF_RECORDS = 8;
/** Cosine of a stored vector and one made of the same text now. Servers round differently from batch to batch. */
const SAME_VECTOR_COSINE = 0.99;

export class BoundCollection {
  readonly uuid: string;
  readonly #connection: ChromaConnection;

  constructor(connection: ChromaConnection, uuid: string) {
    this.#connection = connection;
    this.uuid = uuid;
  }

  /**
   * The nearest records of each vector, nearest first, in the order of the vectors. `not_found` too where nothing is
   * found although nothing was filtered: a READY collection has records, and some of them are always nearest. And where
   * records are found that have neither text nor metadata: while a collection is deleted or emptied, its index still knows them.
   */
  async query(
    vectors: readonly Float32Array[],
    { topK, where = null, ...limits }: QueryLimits,
  ): Promise<ChromaResult<FoundRecord[][]>> {
    const found = await this.#call(limits, async (collection) => {
      const result = await collection.query({
        queryEmbeddings: vectors.map((vector) => Array.from(vector)),
        nResults: topK,
        include: ['documents', 'metadatas', 'distances'],
        // Its type cannot say that operators and fields exclude each other.
        ...(where === null ? {} : { where: where as ChromaWhere }),
      });
      const rows = result.rows();
      const isTorn = rows.some((row) => row.length > 0 && row.every(isHollow));
      return isTorn ? null : rows.map((row) => row.flatMap(toFound));
    });
    if (found.kind === 'failure') return found;
    const { value } = found;
    if (value === null) return failure('not_found', 'The collection gives records without texts');
    if (value.some((records) => records.length > 0)) return { kind: 'ok', value };
    if (where === null) return failure('not_found', 'The collection is empty');
    const count = await this.count(limits);
    if (count.kind === 'failure') return count;
    return count.value === 0 ? failure('not_found', 'The collection is empty') : { kind: 'ok', value };
  }

  count(limits: CallLimits): Promise<ChromaResult<number>> {
    return this.#call(limits, (collection) => collection.count());
  }

  /** Numbers of the first record's vector; null where there is no record. */
  dimensions(limits: CallLimits): Promise<ChromaResult<number | null>> {
    return this.#call(limits, async (collection) => {
      const [vector] = (await collection.get({ limit: 1, include: ['embeddings'] })).embeddings;
      return vector?.length ?? null;
    });
  }

  /** Whether a few of its records have the vectors that the embedder makes of their texts. */
  async isMadeBy(embedder: Embedder, limits: CallLimits): Promise<ChromaResult<boolean>> {
    const got = await this.#call(limits, async (collection) => {
      const include = ['documents', 'metadatas', 'embeddings'] as const;
      return (await collection.get({ limit: PROOF_RECORDS, include: [...include] })).rows();
    });
    if (got.kind === 'failure') return got;
    const texts = got.value.map(({ document, metadata }) => indexedTextOf(document ?? '', metadata ?? {}));
    const vectors = await embedder.embedDocuments(texts, limits);
    const isSame = got.value.every(({ embedding }, index) => {
      const expected = vectors[index];
      // What the index has put into numbers that are free says nothing about the embedder.
      const meant = embedding?.slice(0, embedding.length - (embedder.freeDimensions ?? 0));
      return meant && expected && cosine(meant, expected.subarray(0, meant.length)) > SAME_VECTOR_COSINE;
    });
    return { kind: 'ok', value: isSame && texts.length > 0 };
  }

  #call<T>(limits: CallLimits, operation: (collection: Collection) => Promise<T>): Promise<ChromaResult<T>> {
    return this.#connection.call((client) => operation(client.collection(this.uuid)), limits);
  }
}

/** A row of an answer, as the client of Chroma gives it. */
type Row = QueryRowResult<Metadata>;

/** Known to the index only. */
function isHollow({ document, metadata }: Row): boolean {
  return (document ?? null) === null && (metadata ?? null) === null;
}

function toFound(row: Row): FoundRecord[] {
  const { id, document, metadata, distance } = row;
  if (isHollow(row) || typeof distance !== 'number' || !Number.isFinite(distance)) return [];
  return [{ id, text: document ?? '', metadata: metadata ?? {}, distance }];
}
