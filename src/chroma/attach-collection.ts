// Attaching to a collection that somebody else fills: it is looked at and asked, and nothing in it is ever changed.

import { createHash } from 'node:crypto';
import type { CollectionRecord, RankZero } from '../domain/collection.ts';
import { RagmillError } from '../errors.ts';
import { BoundCollection } from './bound-collection.ts';
import type { Embedding } from './corpus-survey.ts';
import { getByName } from './ownership.ts';
import type { PatientChroma } from './patient-chroma.ts';
import type { ReadyCollection } from './ready-collection.ts';

export interface AttachOptions {
  readonly chroma: PatientChroma;
  readonly name: string;
  readonly rankZero: RankZero;
  readonly embedding: Embedding;
}

/**
 * Throws `collection_missing` where there is none or nothing in it, `collection_mismatch` where its vectors have not the
 * embedder's length, and what the embedder throws.
 */
export async function attachCollection(options: AttachOptions): Promise<ReadyCollection> {
  const { chroma, name, embedding } = options;
  const embedder = await embedding.createEmbedder(noChunks());
  const found = await chroma.wait(async () => {
    const looked = await chroma.connection.call((client) => getByName(client, name), chroma.limits);
    if (looked.kind === 'ok') return { kind: 'ok', value: looked.value.id };
    return looked.class === 'not_found' ? { kind: 'ok', value: null } : looked;
  });
  if (found === null) throw missing(name, 'does not exist');
  const collection = new BoundCollection(chroma.connection, found);
  const count = await chroma.wait(() => collection.count(chroma.limits));
  if (count === 0) throw missing(name, 'is empty');
  const dimensions = await chroma.wait(() => collection.dimensions(chroma.limits));
  if (dimensions !== embedder.dimensions) {
    throw new RagmillError(
      'collection_mismatch',
      `The collection "${name}" has vectors of ${dimensions} numbers, and the embedder makes ${embedder.dimensions}. ` +
        'Set EMBEDDING_URL and EMBEDDING_MODEL to what it was filled with.',
    );
  }
  const fingerprint = createHash('sha256').update(`attached ${embedder.fingerprint}`).digest('hex');
  const record = await recordOf(options.rankZero, { uuid: found, name, count, fingerprint });
  return { record, collection, embedder };
}

/** The same collection keeps its generation, however often it is attached to; its owner may add to it. */
async function recordOf(
  rankZero: RankZero,
  seen: { uuid: string; name: string; count: number; fingerprint: string },
): Promise<CollectionRecord> {
  const current = await rankZero.currentCollection();
  if (current?.uuid === seen.uuid && current.fingerprint === seen.fingerprint)
    return { ...current, count: seen.count };
  const token = await rankZero.acquireRankZero();
  if (token === null) throw new RagmillError('rank_lost', 'Another process is rank 0.');
  return rankZero.recordReady(token, seen);
}

function missing(name: string, what: string): RagmillError {
  return new RagmillError(
    'collection_missing',
    `The collection "${name}" ${what}, and RESET_COLLECTION=never does not fill it. Set CHROMA_COLLECTION to the one to use.`,
  );
}

async function* noChunks(): AsyncGenerator<never> {
  // An embedder that needs a corpus cannot be used here: the settings say so before.
}
