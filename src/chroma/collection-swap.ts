// Puts a finished build in the place of the collection it replaces, and clears away what builds leave behind.
//
// Chroma deletes by name only, and a name may be somebody else's a moment after it was looked at. So the old collection is
// first renamed, which goes by UUID and hits exactly the one that was looked at, and is deleted under a name that only we give.
// It can be read by its UUID all the while.

import type { Collection } from 'chromadb';
import { RagmillError } from '../errors.ts';
import { type ChromaResult, failure } from './chroma-client.ts';
import { isBuildName, isRetiredName } from './collection-name.ts';
import { getByName, inspectOwnership, isOwnedBy, type Ownership } from './ownership.ts';
import type { PatientChroma } from './patient-chroma.ts';

/** What must be known to touch a collection: its name, and whose it has to be. */
export interface CollectionIdentity {
  readonly name: string;
  readonly ownerId: string;
}

const pageSize = 100;
/** Part of Chroma's answer to a name that another collection has, with status 500. */
const nameTakenMessage = 'UNIQUE constraint failed';
const nameTakenMax = 3;

/** What stands under the name. Throws `collection_not_owned` for a collection that we must not touch. */
export async function requireOwnership(
  chroma: PatientChroma,
  { name, ownerId }: CollectionIdentity,
): Promise<Ownership> {
  const found = await chroma.wait(() => inspectOwnership(chroma.connection, name, ownerId, chroma.limits));
  if (found.kind === 'foreign') throw notOwned(name, found.count);
  return found;
}

/**
 * Gives the build the name, and `retiredName` to the collection that had it, which must be ours or empty. May be
 * repeated. Throws `collection_not_owned`, with the other collection as it was.
 */
export function swapIn(
  chroma: PatientChroma,
  identity: CollectionIdentity,
  build: { readonly uuid: string; readonly name: string; readonly retiredName: string },
): Promise<void> {
  const { name, ownerId } = identity;
  let refused = 0;
  return chroma.wait(async (): Promise<ChromaResult<void>> => {
    const there = await inspectOwnership(chroma.connection, name, ownerId, chroma.limits);
    if (there.kind === 'failure') return there;
    const old = there.value;
    if (old.kind === 'foreign') throw notOwned(name, old.count);
    if (old.kind !== 'absent') {
      if (old.uuid === build.uuid) return { kind: 'ok', value: undefined };
      const retired = await retire(chroma, identity, old, build.retiredName);
      if (retired.kind === 'failure') return retired;
    }
    const renamed = await rename(chroma, build, name);
    if (renamed.kind === 'failure' && renamed.message.includes(nameTakenMessage)) {
      // Somebody may have taken it since it was looked at: then the next look finds that one.
      refused += 1;
      if (refused >= nameTakenMax) throw nameTaken(name);
    }
    return renamed;
  });
}

/** Undoes a swap as far as it came: what was retired has its name again, and the build the one it was built under. */
export async function swapBack(
  chroma: PatientChroma,
  identity: CollectionIdentity,
  { buildName, retiredName }: { readonly buildName: string; readonly retiredName: string },
): Promise<void> {
  const old = await requireOwnership(chroma, { ...identity, name: retiredName });
  if (old.kind === 'absent') return;
  await swapIn(chroma, identity, { uuid: old.uuid, name: retiredName, retiredName: buildName });
}

/** A look-up finds nothing under the name, and yet it cannot be given. */
function nameTaken(name: string): RagmillError {
  return new RagmillError(
    'chroma_refused',
    `Chroma says that the name "${name}" is taken, and shows no collection that has it. ` +
      'Set CHROMA_COLLECTION to another name, or delete that collection in Chroma yourself.',
  );
}

async function retire(
  chroma: PatientChroma,
  { name, ownerId }: CollectionIdentity,
  old: { readonly kind: Ownership['kind']; readonly uuid: string },
  retiredName: string,
): Promise<ChromaResult<void>> {
  // One that an earlier try has retired is in the way of the next.
  const cleared = await deleteOwn(chroma, { name: retiredName, ownerId });
  if (cleared.kind === 'failure') return cleared;
  const renamed = await rename(chroma, { uuid: old.uuid, name }, retiredName);
  if (renamed.kind === 'failure' || old.kind === 'ours') return renamed;
  // Somebody may have filled it since it was found empty: then it is theirs, and gets its name back.
  const { connection, limits } = chroma;
  const count = await connection.call((client) => client.collection(old.uuid).count(), limits);
  if (count.kind === 'failure') return count;
  if (count.value === 0) return { kind: 'ok', value: undefined };
  const restored = await rename(chroma, { uuid: old.uuid, name: retiredName }, name);
  if (restored.kind === 'failure') return restored;
  throw notOwned(name, count.value);
}

/** Renames the collection of this UUID, if it still has the name: the request that changes it goes by UUID. */
async function rename(
  { connection, limits }: PatientChroma,
  from: { readonly uuid: string; readonly name: string },
  to: string,
): Promise<ChromaResult<void>> {
  const renamed = await connection.call(async (client) => {
    const collection = await getByName(client, from.name);
    const isSame = collection.id === from.uuid;
    if (isSame) await collection.modify({ name: to });
    return isSame;
  }, limits);
  if (renamed.kind === 'failure') return renamed;
  return renamed.value
    ? { kind: 'ok', value: undefined }
    : failure('server', `The collection "${from.name}" was replaced by another one just now`);
}

/**
 * Deletes what builds left: those that never were swapped in, and those that were replaced. Without our mark they are
 * somebody else's and stay, but for empty ones under names that only we give. The one that is in use stays as well:
 * a build that could not be recorded, nor undone, leaves it retired. Answers the names of all.
 */
export async function removeLeftovers(
  chroma: PatientChroma,
  { name, ownerId }: CollectionIdentity,
  inUseUuid: string | null,
): Promise<{ removed: string[]; spared: string[]; taken: Set<string> }> {
  const removed: string[] = [];
  const spared: string[] = [];
  const taken = new Set<string>();
  for (const collection of await buildsOf(chroma, name)) {
    if (collection.id === inUseUuid) {
      spared.push(collection.name);
      continue;
    }
    const isLeftover = isOwnedBy(collection, ownerId) || (await isEmptyRetired(chroma, collection));
    if (isLeftover) removed.push(collection.name);
    else taken.add(collection.name);
  }
  for (const leftover of removed) await chroma.wait(() => deleteByName(chroma, leftover));
  return { removed, spared, taken };
}

/** All collections that have names of builds, whosever they are. */
function buildsOf(chroma: PatientChroma, name: string): Promise<Collection[]> {
  return chroma.wait(() =>
    chroma.connection.call(async (client) => {
      const found: Collection[] = [];
      for (let offset = 0; ; offset += pageSize) {
        const page = await client.listCollections({ limit: pageSize, offset });
        found.push(...page.filter((collection) => isBuildName(collection.name, name)));
        if (page.length < pageSize) return found;
      }
    }, chroma.limits),
  );
}

/** One that cannot be counted may hold something. */
async function isEmptyRetired(chroma: PatientChroma, { id, name }: Collection): Promise<boolean> {
  if (!isRetiredName(name)) return false;
  const count = await chroma.wait(async (): Promise<ChromaResult<number | null>> => {
    const counted = await chroma.connection.call((client) => client.collection(id).count(), chroma.limits);
    return counted.kind === 'failure' && counted.class === 'not_found'
      ? { kind: 'ok', value: null }
      : counted;
  });
  return count === 0;
}

/** Deletes what is under the name, if it is ours or empty. Throws `collection_not_owned` otherwise. */
export async function deleteOwn(
  chroma: PatientChroma,
  { name, ownerId }: CollectionIdentity,
): Promise<ChromaResult<void>> {
  const there = await inspectOwnership(chroma.connection, name, ownerId, chroma.limits);
  if (there.kind === 'failure') return there;
  if (there.value.kind === 'foreign') throw notOwned(name, there.value.count);
  return there.value.kind === 'absent' ? { kind: 'ok', value: undefined } : deleteByName(chroma, name);
}

/** A collection that is already gone counts as deleted. */
export async function deleteByName(chroma: PatientChroma, name: string): Promise<ChromaResult<void>> {
  const deleted = await chroma.connection.call((client) => client.deleteCollection({ name }), chroma.limits);
  return deleted.kind === 'failure' && deleted.class === 'not_found'
    ? { kind: 'ok', value: undefined }
    : deleted;
}

/** A collection under our name that we must not touch. `count` null: it cannot be read. */
export function notOwned(name: string, count: number | null): RagmillError {
  const what = count === null ? 'cannot be read' : `has ${count} records`;
  return new RagmillError(
    'collection_not_owned',
    `The collection "${name}" ${what} and belongs to somebody else; it was not touched. ` +
      'Set CHROMA_COLLECTION to another name, or delete that collection yourself.',
  );
}
