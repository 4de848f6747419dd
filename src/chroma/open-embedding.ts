// The way from a corpus to vectors that the settings ask for: the built-in lexical embedder, or an embedding server.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { BaseLogger } from 'pino';
import type { Settings } from '../config.ts';
import type { CorpusChunk } from '../domain/corpus.ts';
import { embeddingsAddress } from '../model-server/embeddings-address.ts';
import { ModelServerClient } from '../model-server/model-server-client.ts';
import type { Clock } from '../time.ts';
import type { Embedding } from './corpus-survey.ts';
import { EmbedderFailure } from './embedder-failure.ts';
import { EmbeddingCache } from './embedding-cache.ts';
import { EmbeddingServer } from './embedding-server.ts';
import { lexicalEmbedding } from './lexical-embedding.ts';
import { probeOf, ServerEmbedder } from './server-embedder.ts';

export interface OpenEmbeddingOptions {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly log: BaseLogger;
  /** Ends whatever is under way. */
  readonly signal: AbortSignal;
}

/**
 * For vectors of a model. Measured once, by hand, on 10,000 random vectors of 768 numbers that lie in 24 or 48 directions, on two
 * busy cores: all of exact search's first five are found, at 350 to 430 questions per second. With Chroma's defaults
 * (100, 100, 16): .997 and .969, at 720 to 870. With 200 clusters among them both find all.
 */
export const serverIndex = {
  space: 'cosine',
  ef_search: 200,
  ef_construction: 200,
  max_neighbors: 32,
} as const;

/** What it opens is closed with `opened`. Asks nobody yet: the first to ask is createEmbedder(). */
export function openEmbedding(options: OpenEmbeddingOptions, opened: AsyncDisposableStack): Embedding {
  const { settings, clock, log } = options;
  const { EMBEDDING_URL: address, EMBEDDING_MODEL: model } = settings;
  if (address === undefined || model === undefined) return lexicalEmbedding;
  const client = opened.adopt(new ModelServerClient(clock), (it) => it.close());
  mkdirSync(settings.DATA_DIR, { recursive: true });
  const cache = opened.adopt(
    new EmbeddingCache({
      path: join(settings.DATA_DIR, 'embeddings.sqlite'),
      minFreeBytes: settings.MIN_FREE_DISK_BYTES,
      log,
    }),
    (it) => it.close(),
  );
  const newServer = () =>
    new EmbeddingServer({
      client,
      url: embeddingsAddress(address),
      apiKey: settings.EMBEDDING_API_KEY ?? null,
      model,
      maxTexts: settings.EMBEDDING_BATCH_SIZE,
      callTimeoutMs: settings.EMBEDDING_TIMEOUT_MS,
      log,
    });
  return {
    index: serverIndex,
    createEmbedder: (chunks) => createServerEmbedder({ ...options, server: newServer(), cache }, chunks),
  };
}

/** Waits for a server that is starting. Throws an EmbedderFailure: curable when patience has ended, final otherwise. */
async function createServerEmbedder(
  parts: OpenEmbeddingOptions & { readonly server: EmbeddingServer; readonly cache: EmbeddingCache },
  chunks: AsyncIterable<CorpusChunk>,
): Promise<ServerEmbedder> {
  const { settings, clock, log, signal, server, cache } = parts;
  const patienceMs = settings.BOOTSTRAP_TIMEOUT_MS;
  const probe = await probeOf(server, { endMs: null, patienceMs, signal });
  if (probe === null) throw new EmbedderFailure('rejected', 'The embedder refuses a plain short text.');
  const prefixes = {
    query: settings.EMBEDDING_QUERY_PREFIX ?? '',
    document: settings.EMBEDDING_DOCUMENT_PREFIX ?? '',
  };
  const name = JSON.stringify([settings.EMBEDDING_MODEL, server.answeredModels, server.dimensions, prefixes]);
  const build = await cache.begin(name, probe);
  log.info(
    { model: settings.EMBEDDING_MODEL, dimensions: server.dimensions, key: build.key },
    'the embedder answers',
  );
  server.trust();
  let chunkCount = 0;
  for await (const _chunk of chunks) chunkCount += 1;
  return new ServerEmbedder({
    server,
    cache,
    build,
    fingerprint: `server/${name}/${build.key}`,
    probe,
    prefixes,
    chunkCount,
    patienceMs,
    queryTimeoutMs: settings.RETRIEVAL_TIMEOUT_MS,
    monotonicMs: () => clock.monotonicMs(),
    signal,
    log,
  });
}
