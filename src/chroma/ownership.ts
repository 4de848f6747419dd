// Whose a collection is. ragmill resets or writes only what is empty or carries the mark of its own store.

import type { ChromaClient, Collection } from 'chromadb';
import type { ChromaConnection, ChromaResult } from './chroma-client.ts';

/** Key in a collection's metadata: the id of the store whose services may reset it. */
export const ownerKey = 'ragmill_owner';

/**
 * - absent: no collection has the name.
 * - ours: it carries our mark.
 * - empty: it carries no mark of ours, but there is nothing in it to lose.
 * - foreign: it belongs to somebody else and must not be touched.
 */
export type Ownership =
  | { readonly kind: 'absent' }
  | { readonly kind: 'ours' | 'empty' | 'foreign'; readonly uuid: string; readonly count: number };

/** What stands under the name, by one look-up and one count. */
export async function inspectOwnership(
  connection: ChromaConnection,
  name: string,
  ownerId: string,
  limits: { timeoutMs: number; signal?: AbortSignal | undefined },
): Promise<ChromaResult<Ownership>> {
  const looked = await connection.call(async (client) => {
    const collection = await getByName(client, name);
    return { uuid: collection.id, isOurs: isOwnedBy(collection, ownerId), count: await collection.count() };
  }, limits);
  if (looked.kind === 'failure') {
    return looked.class === 'not_found' ? { kind: 'ok', value: { kind: 'absent' } } : looked;
  }
  const { uuid, isOurs, count } = looked.value;
  if (isOurs) return { kind: 'ok', value: { kind: 'ours', uuid, count } };
  return { kind: 'ok', value: { kind: count === 0 ? 'empty' : 'foreign', uuid, count } };
}

/** Whether the collection carries the mark of this store. */
export function isOwnedBy(collection: Collection, ownerId: string): boolean {
  return collection.metadata?.[ownerKey] === ownerId;
}

/** Looks a collection up without letting the client search for the embedding function that it names. */
export function getByName(client: ChromaClient, name: string): Promise<Collection> {
  return client.getCollection({ name, embeddingFunction: noEmbeddingFunction });
}

/** Vectors are always given; Chroma is never asked to make one. */
const noEmbeddingFunction = {
  name: 'none',
  generate: () => Promise.reject(new Error('ragmill gives vectors, never texts')),
};
