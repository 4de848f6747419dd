// Builds a collection under a name of its own from the corpus. Nobody else sees it before it is complete.

import type { CorpusChunk } from '../domain/corpus.ts';
import { RagmillError } from '../errors.ts';
import { recordId, recordMetadata } from './chunk-record.ts';
import { ChunksDigest, type CorpusSource, type CorpusSurvey, checkVector } from './corpus-survey.ts';
import { Jitter } from './jitter.ts';
import { indexedText } from './lexical-embedder.ts';
import { inspectOwnership, ownerKey } from './ownership.ts';
import type { PatientChroma } from './patient-chroma.ts';

export interface BuildOptions {
  readonly chroma: PatientChroma;
  readonly name: string;
  readonly ownerId: string;
  readonly corpus: CorpusSource;
  readonly survey: CorpusSurvey;
  readonly onProgress: (done: number) => void;
  readonly signal: AbortSignal;
}

/** Measured best between 500 and 2,500 a call; far below the server's limit of 5,461. */
const batchMaxChunks = 500;
/** Bounds memory where chunks are long, in UTF-16 code units of text. */
const batchMaxCharacters = 2 ** 22;
/** Two: one is written while the next is embedded. */
const maxWritesInFlight = 2;

/**
 * Creates the collection, fills it and checks its count. Throws `collection_not_owned` when the name is somebody
 * else's, `corpus_unreadable` when the corpus changed since the survey, `collection_incomplete` when chunks are missing.
 */
export async function buildCollection(options: BuildOptions): Promise<{ uuid: string; count: number }> {
  const uuid = await createEmpty(options);
  await fill(options, uuid);
  const { chroma, name, survey } = options;
  const count = await chroma.wait(() =>
    chroma.connection.call((client) => client.collection(uuid).count(), chroma.limits),
  );
  if (count !== survey.chunkCount) {
    throw new RagmillError(
      'collection_incomplete',
      `The collection "${name}" holds ${count} of ${survey.chunkCount} chunks; two chunks with one id look like this too.`,
    );
  }
  return { uuid, count };
}

/** Creating may be repeated after a broken connection; what is there already is used only if it is ours and empty. */
function createEmpty({ chroma, name, ownerId, survey }: BuildOptions): Promise<string> {
  return chroma.wait(async () => {
    const there = await inspectOwnership(chroma.connection, name, ownerId, chroma.limits);
    if (there.kind === 'failure') return there;
    if (there.value.kind === 'ours' && there.value.count === 0)
      return { kind: 'ok', value: there.value.uuid };
    if (there.value.kind !== 'absent') {
      throw new RagmillError(
        'collection_not_owned',
        `The collection "${name}" is in the way and belongs to somebody else.`,
      );
    }
    return chroma.connection.call(async (client) => {
      const created = await client.createCollection({
        name,
        embeddingFunction: null,
        metadata: { [ownerKey]: ownerId },
        configuration: { hnsw: survey.index },
      });
      return created.id;
    }, chroma.limits);
  });
}

async function fill(options: BuildOptions, uuid: string): Promise<void> {
  const { corpus, survey, onProgress, signal } = options;
  const digest = new ChunksDigest(signal);
  const jitter = new Jitter();
  const writes = new Set<Promise<void>>();
  let done = 0;
  try {
    for await (const batch of inBatches(digest.watch(corpus.chunks()))) {
      while (writes.size >= maxWritesInFlight) await Promise.race(writes);
      const write = writeBatch(options, uuid, { batch, jitter }).then(() => {
        writes.delete(write);
        done += batch.length;
        onProgress(done);
      });
      writes.add(write);
      // It is waited for later; a rejection that nobody handles until then would end the service.
      write.catch(() => {});
    }
    await Promise.all(writes);
  } finally {
    await Promise.allSettled(writes);
  }
  if (digest.hash() !== survey.chunksHash) {
    throw new RagmillError(
      'corpus_unreadable',
      `The corpus at ${corpus.path} changed while it was being read. Start again.`,
    );
  }
}

async function writeBatch(
  { chroma, survey, signal }: BuildOptions,
  uuid: string,
  { batch, jitter }: { readonly batch: readonly CorpusChunk[]; readonly jitter: Jitter },
): Promise<void> {
  const vectors = await survey.embedder.embedDocuments(batch.map(indexedText), { signal });
  const embeddings = batch.map((_chunk, index) => {
    const vector = vectors[index];
    checkVector(vector, survey.embedder);
    return jitter.applied(vector, survey.embedder);
  });
  const records = {
    ids: batch.map(recordId),
    embeddings,
    documents: batch.map((chunk) => chunk.text),
    metadatas: batch.map(recordMetadata),
  };
  await chroma.wait(() =>
    chroma.connection.call((client) => client.collection(uuid).upsert(records), chroma.limits),
  );
}

async function* inBatches(chunks: AsyncIterable<CorpusChunk>): AsyncGenerator<CorpusChunk[]> {
  let batch: CorpusChunk[] = [];
  let characters = 0;
  for await (const chunk of chunks) {
    if (
      batch.length === batchMaxChunks ||
      (batch.length > 0 && characters + chunk.text.length > batchMaxCharacters)
    ) {
      yield batch;
      batch = [];
      characters = 0;
    }
    batch.push(chunk);
    characters += chunk.text.length;
  }
  if (batch.length > 0) yield batch;
}
