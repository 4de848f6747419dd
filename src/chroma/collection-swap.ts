// Puts a finished build in the place of the collection it replaces, and clears away what earlier builds left behind.
// Chroma cannot do both at once: between the deletion and the renaming the name is absent for a moment.

import { RagmillError } from '../errors.ts';
import type { ChromaResult } from './chroma-client.ts';
import { isBuildName } from './collection-name.ts';
import { getByName, inspectOwnership, isOwnedBy, type Ownership } from './ownership.ts';
import type { PatientChroma } from './patient-chroma.ts';

/** What must be known to touch a collection: its name, and whose it has to be. */
export interface CollectionIdentity {
  readonly name: string;
  readonly ownerId: string;
}

const pageSize = 100;

/** What stands under the name. Throws `collection_not_owned` for a collection that we must not touch. */
export async function requireOwnership(
  chroma: PatientChroma,
  { name, ownerId }: CollectionIdentity,
): Promise<Ownership> {
  const found = await chroma.wait(() => inspectOwnership(chroma.connection, name, ownerId, chroma.limits));
  if (found.kind === 'foreign') throw notOwned(name, found.count);
  return found;
}

/** Deletes the collection of that name, ours or empty, and gives its name to the build. May be repeated. */
export function swapIn(
  chroma: PatientChroma,
  identity: CollectionIdentity,
  build: { readonly uuid: string; readonly name: string },
): Promise<void> {
  const { name, ownerId } = identity;
  return chroma.wait(async (): Promise<ChromaResult<void>> => {
    const there = await inspectOwnership(chroma.connection, name, ownerId, chroma.limits);
    if (there.kind === 'failure') return there;
    const old = there.value;
    if (old.kind === 'foreign') throw notOwned(name, old.count);
    if (old.kind !== 'absent') {
      if (old.uuid === build.uuid) return { kind: 'ok', value: undefined };
      const deleted = await deleteByName(chroma, name);
      if (deleted.kind === 'failure') return deleted;
    }
    return chroma.connection.call(async (client) => {
      const built = await getByName(client, build.name);
      await built.modify({ name });
    }, chroma.limits);
  });
}

/** Deletes builds that never were swapped in. Those without our mark are somebody else's and stay. */
export async function removeLeftovers(
  chroma: PatientChroma,
  { name, ownerId }: CollectionIdentity,
): Promise<string[]> {
  const leftovers = await chroma.wait(() =>
    chroma.connection.call(async (client) => {
      const found: string[] = [];
      for (let offset = 0; ; offset += pageSize) {
        const page = await client.listCollections({ limit: pageSize, offset });
        const ours = page.filter(
          (collection) => isBuildName(collection.name, name) && isOwnedBy(collection, ownerId),
        );
        found.push(...ours.map((collection) => collection.name));
        if (page.length < pageSize) return found;
      }
    }, chroma.limits),
  );
  for (const leftover of leftovers) await chroma.wait(() => deleteByName(chroma, leftover));
  return leftovers;
}

/** A collection that is already gone counts as deleted. */
export async function deleteByName(chroma: PatientChroma, name: string): Promise<ChromaResult<void>> {
  const deleted = await chroma.connection.call((client) => client.deleteCollection({ name }), chroma.limits);
  return deleted.kind === 'failure' && deleted.class === 'not_found'
    ? { kind: 'ok', value: undefined }
    : deleted;
}

function notOwned(name: string, count: number): RagmillError {
  return new RagmillError(
    'collection_not_owned',
    `The collection "${name}" has ${count} records and belongs to somebody else; it was not touched. ` +
      'Set CHROMA_COLLECTION to another name, or delete that collection yourself.',
  );
}
