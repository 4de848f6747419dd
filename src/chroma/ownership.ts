// Whose a collection is. ragmill resets or writes only what is empty or carries the mark of its own store.

import type { ChromaClient, Collection } from 'chromadb';
import { type CallLimits, type ChromaConnection, type ChromaResult, failure } from './chroma-client.ts';

/** Key in a collection's metadata: the id of the store whose services may reset it. */
export const ownerKey = 'ragmill_owner';

/**
 * - absent: no collection has the name.
 * - ours: it carries our mark. Its count is null where it is there but cannot be read: then it is damaged.
 * - empty: it carries no mark of ours, but there is nothing in it to lose.
 * - foreign: it belongs to somebody else and must not be touched, readable or not.
 */
export type Ownership =
  | { readonly kind: 'absent' }
  | { readonly kind: 'ours' | 'empty' | 'foreign'; readonly uuid: string; readonly count: number | null };

interface Found {
  readonly uuid: string;
  readonly isOurs: boolean;
}

/**
 * What stands under the name. Found and counted are judged apart: a collection whose index is torn answers a count as if it
 * were gone, while it still has its name.
 */
export async function inspectOwnership(
  connection: ChromaConnection,
  name: string,
  ownerId: string,
  limits: CallLimits,
): Promise<ChromaResult<Ownership>> {
  const found = await lookUp(connection, name, ownerId, limits);
  if (found.kind === 'failure') return found;
  if (found.value === null) return { kind: 'ok', value: { kind: 'absent' } };
  const { uuid, isOurs } = found.value;
  const counted = await connection.call((client) => client.collection(uuid).count(), limits);
  if (counted.kind === 'ok') {
    const { value: count } = counted;
    const kind = isOurs ? 'ours' : count === 0 ? 'empty' : 'foreign';
    return { kind: 'ok', value: { kind, uuid, count } };
  }
  if (counted.class !== 'not_found') return counted;
  // Deleted in between, or there and damaged.
  const again = await lookUp(connection, name, ownerId, limits);
  if (again.kind === 'failure') return again;
  if (again.value === null) return { kind: 'ok', value: { kind: 'absent' } };
  if (again.value.uuid !== uuid) return failure('server', `The collection "${name}" was replaced just now`);
  return { kind: 'ok', value: { kind: isOurs ? 'ours' : 'foreign', uuid, count: null } };
}

/** null: no collection has the name. */
async function lookUp(
  connection: ChromaConnection,
  name: string,
  ownerId: string,
  limits: CallLimits,
): Promise<ChromaResult<Found | null>> {
  const found = await connection.call(async (client) => {
    const collection = await getByName(client, name);
    return { uuid: collection.id, isOurs: isOwnedBy(collection, ownerId) };
  }, limits);
  return found.kind === 'failure' && found.class === 'not_found' ? { kind: 'ok', value: null } : found;
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
