// A live collection over a real Chroma behind a proxy, and another client of the same Chroma that deletes, empties and creates.

import pino from 'pino';
import type { Test } from 'tap';
import { Bootstrap, type BootstrapOptions } from '../../src/chroma/bootstrap.ts';
import { ChromaConnection } from '../../src/chroma/chroma-client.ts';
import { lexicalEmbedding } from '../../src/chroma/lexical-embedding.ts';
import { LiveCollection, type LiveCollectionOptions } from '../../src/chroma/live-collection.ts';
import type { RetrievalOutcome } from '../../src/domain/passage.ts';
import { systemClock } from '../../src/time.ts';
import { faultyProxy } from './faulty-proxy.ts';
import { MemoryRankZero } from './memory-rank-zero.ts';
import { succeeds } from './real-chroma.ts';
import { smallCorpus } from './small-corpus.ts';

const limits = { timeoutMs: 30_000 };
const log = pino({ level: 'silent' });
export const wish = { topK: 2, maxDistance: null, where: null };
export const question = 'Who polishes the lens of the lighthouse?';
let nameCount = 0;

export interface LiveWorldOptions extends Partial<LiveCollectionOptions> {
  readonly bootstrapOptions?: Partial<BootstrapOptions>;
}

export async function liveWorld(t: Test, chroma: ChromaConnection, options: LiveWorldOptions = {}) {
  const proxy = await faultyProxy(t, chroma.url);
  const connection = new ChromaConnection({ url: proxy.url });
  const rankZero = new MemoryRankZero();
  const corpus = smallCorpus();
  const name = `live-${nameCount++}`;
  const bootstrap = new Bootstrap({
    rankZero,
    connection,
    corpus,
    embedding: lexicalEmbedding,
    collectionName: name,
    resetCollection: 'always',
    timeoutMs: 30_000,
    clock: systemClock,
    log,
    ...options.bootstrapOptions,
  });
  const generations: number[] = [];
  const healed = { times: 0 };
  const first = await bootstrap.run(new AbortController().signal);
  const live = new LiveCollection(first, {
    bootstrap,
    connection,
    ownerId: rankZero.storeId,
    isAttached: false,
    patienceMs: 30_000,
    maxAttempts: 2,
    timeoutMs: 30_000,
    outageMs: 600_000,
    onChange: ({ record }) => generations.push(record.generation),
    onHealed: () => {
      healed.times += 1;
    },
    clock: systemClock,
    log,
    ...options,
  });
  t.teardown(() => live.stop());
  const ask = (query = question): Promise<RetrievalOutcome> => live.retrieve(query, wish);
  return { proxy, live, bootstrap, name, corpus, rankZero, generations, healed, ask };
}

export function drop(chroma: ChromaConnection, name: string): Promise<void> {
  return succeeds(chroma.call((client) => client.deleteCollection({ name }), limits));
}

/** What another client makes under the name. */
export function create(
  chroma: ChromaConnection,
  name: string,
  records: Partial<Records> | null,
  metadata?: Record<string, string>,
): Promise<string> {
  return succeeds(
    chroma.call(async (client) => {
      const created = await client.createCollection({
        name,
        embeddingFunction: null,
        ...(metadata === undefined ? {} : { metadata }),
        configuration: { hnsw: lexicalEmbedding.index },
      });
      if (records) await created.add(records as Records);
      return created.id;
    }, limits),
  );
}

export interface Records {
  ids: string[];
  embeddings: number[][];
  documents: string[];
  metadatas: Record<string, string | number>[];
}

/** Everything that is in a collection. */
export function contents(chroma: ChromaConnection, name: string): Promise<Records> {
  return succeeds(
    chroma.call(async (client) => {
      const collection = await client.getCollection({ name });
      const got = await collection.get({ include: ['documents', 'embeddings', 'metadatas'] });
      return {
        ids: got.ids,
        embeddings: got.embeddings as number[][],
        documents: got.documents as string[],
        metadatas: got.metadatas as Records['metadatas'],
      };
    }, limits),
  );
}

/** Names of all collections that begin so. */
export function namesLike(chroma: ChromaConnection, prefix: string): Promise<string[]> {
  return succeeds(
    chroma.call(async (client) => {
      const all = await client.listCollections({ limit: 1_000 });
      return all.map(({ name }) => name).filter((name) => name.startsWith(prefix));
    }, limits),
  );
}
