// The first pass over the corpus, before anything in Chroma is touched: is there text, which corpus is it, and the
// embedder that fits it. Memory stays bounded by the embedder, however large the corpus is.

import { createHash, type Hash } from 'node:crypto';
import type { HNSWConfiguration } from 'chromadb';
import type { CorpusChunk } from '../domain/corpus.ts';
import type { Embedder } from '../domain/embedder.ts';
import { RagmillError } from '../errors.ts';
import { indexFor } from './index-effort.ts';
import { indexedText } from './lexical-embedder.ts';

/** A corpus that can be read more than once, in the same order. */
export interface CorpusSource {
  /** Where it comes from, for messages. */
  readonly path: string;
  /** Throws `corpus_unreadable` when it cannot be read. */
  chunks(): AsyncIterable<CorpusChunk>;
}

/** Makes the embedder for a corpus; it must read all chunks to the end. */
type EmbedderFactory = (chunks: AsyncIterable<CorpusChunk>) => Promise<Embedder>;

export interface CorpusSurvey {
  readonly chunkCount: number;
  /** Hash of all chunks: tells whether a second pass reads the same. */
  readonly chunksHash: string;
  /** Hash of chunks, embedder and index: equal fingerprints mean equal collections. */
  readonly fingerprint: string;
  readonly embedder: Embedder;
  readonly index: HNSWConfiguration;
}

/** How a corpus becomes vectors, and how Chroma is to index these. */
export interface Embedding {
  readonly createEmbedder: EmbedderFactory;
  readonly index: HNSWConfiguration;
}

/**
 * Reads the whole corpus once. Throws `corpus_unreadable`, `corpus_empty`, `embedder_unavailable` or `embedder_failed`, and the
 * signal's reason.
 */
export async function surveyCorpus(
  corpus: CorpusSource,
  embedding: Embedding,
  signal: AbortSignal,
): Promise<CorpusSurvey> {
  const { createEmbedder } = embedding;
  const digest = new ChunksDigest(signal);
  const embedder = await createEmbedder(digest.watch(corpus.chunks()));
  if (digest.count === 0) {
    throw new RagmillError(
      'corpus_empty',
      `The corpus at ${corpus.path} has no text that could be retrieved.`,
    );
  }
  await checkEmbedder(embedder, digest.sample);
  const chunksHash = digest.hash();
  const index = indexFor(embedding.index, digest.count);
  const settings = JSON.stringify([chunksHash, embedder.fingerprint, index]);
  const fingerprint = createHash('sha256').update(settings).digest('hex');
  return { chunkCount: digest.count, chunksHash, fingerprint, embedder, index };
}

/** Counts and hashes chunks as they pass by, until the signal ends it: a large corpus takes longer than a stop may. */
export class ChunksDigest {
  readonly #signal: AbortSignal;
  readonly #hash: Hash = createHash('sha256');
  #count = 0;
  #sample = '';

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  get count(): number {
    return this.#count;
  }

  /** The embedded text of the first chunk. */
  get sample(): string {
    return this.#sample;
  }

  async *watch(chunks: AsyncIterable<CorpusChunk>): AsyncGenerator<CorpusChunk> {
    this.#signal.throwIfAborted();
    for await (const chunk of chunks) {
      this.#signal.throwIfAborted();
      if (this.#count === 0) this.#sample = indexedText(chunk);
      this.#count += 1;
      const { documentId, chunk: part, title, source, text, metadata } = chunk;
      this.#hash.update(JSON.stringify([documentId, part, title, source, text, metadata])).update('\n');
      yield chunk;
    }
  }

  /** Hex SHA-256 of all chunks seen. Ends the digest. */
  hash(): string {
    return this.#hash.digest('hex');
  }
}

async function checkEmbedder(embedder: Embedder, sample: string): Promise<void> {
  const [vector] = await embedder.embedDocuments([sample]).catch((error: unknown) => {
    if (error instanceof RagmillError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new RagmillError('embedder_failed', `The embedder does not answer: ${reason}`, { cause: error });
  });
  checkVector(vector, embedder);
}

/** Throws `embedder_failed` for a vector that must not enter the collection: Chroma would take a NaN and rank it first. */
export function checkVector(
  vector: Float32Array | undefined,
  embedder: Embedder,
): asserts vector is Float32Array {
  if (vector !== undefined && vector.length === embedder.dimensions && vector.every(Number.isFinite)) return;
  throw new RagmillError(
    'embedder_failed',
    `The embedder (${embedder.fingerprint}) gave a vector that is not ${embedder.dimensions} finite numbers.`,
  );
}
