// Collections of somebody else beside the service's own, and what stands in a Chroma.

import type { ChromaConnection } from '../../src/chroma/chroma-client.ts';
import { succeeds } from '../fakes/real-chroma.ts';

const limits = { timeoutMs: 60_000 };

/** All of it: identity, metadata, configuration, and every record with its vector. */
export function contentsOf(chroma: ChromaConnection, collection: string): Promise<string> {
  return succeeds(
    chroma.call(async (client) => {
      const it = await client.getCollection({ name: collection });
      const everything = await it.get({ include: ['documents', 'embeddings', 'metadatas'] });
      return JSON.stringify([it.id, it.metadata, it.configuration, everything]);
    }, limits),
  );
}

/** Two records that the service has no part in. Answers its contents. */
export async function createForeign(
  chroma: ChromaConnection,
  collection: string,
  metadata?: Record<string, string>,
): Promise<string> {
  await succeeds(
    chroma.call(async (client) => {
      const theirs = await client.createCollection({
        name: collection,
        embeddingFunction: null,
        ...(metadata === undefined ? {} : { metadata }),
      });
      const embeddings = [
        [1, 0.25],
        [0.5, 1],
      ];
      await theirs.add({
        ids: ['a', 'b'],
        embeddings,
        documents: ['one', 'two'],
        metadatas: [{ n: 1 }, { n: 2 }],
      });
    }, limits),
  );
  return contentsOf(chroma, collection);
}

/** Records by the name of their collection. */
export function countsIn(chroma: ChromaConnection): Promise<Record<string, number>> {
  return succeeds(
    chroma.call(async (client) => {
      const all = await client.listCollections({ limit: 1_000 });
      return Object.fromEntries(await Promise.all(all.map(async (it) => [it.name, await it.count()])));
    }, limits),
  );
}
