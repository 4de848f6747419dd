// An embedder of a fake embedding server, as the settings open it, with a folder of its own.

import type { Test } from 'tap';
import type { Embedding } from '../../src/chroma/corpus-survey.ts';
import { openEmbedding } from '../../src/chroma/open-embedding.ts';
import { readSettings } from '../../src/config.ts';
import type { Embedder } from '../../src/domain/embedder.ts';
import { systemClock } from '../../src/time.ts';
import { type FakeEmbeddingServer, startFakeEmbeddingServer } from './fake-embedding-server.ts';
import { type LogLine, recordingLog } from './recording-log.ts';
import { smallCorpus } from './small-corpus.ts';

export interface EmbedderFixture {
  readonly server: FakeEmbeddingServer;
  readonly lines: readonly LogLine[];
  /** Opens it anew, as a start of the service does; settings may change. */
  open(changes?: Readonly<Record<string, string>>): { embedding: Embedding; close: () => Promise<void> };
  /** Opens it and makes the embedder for the small corpus; it closes with the test. */
  embedder(changes?: Readonly<Record<string, string>>): Promise<Embedder>;
  readonly dataDir: string;
}

export async function embedderFixture(t: Test, chunks = 5): Promise<EmbedderFixture> {
  const server = await startFakeEmbeddingServer(t);
  const dataDir = t.testdir();
  const { log, lines } = recordingLog();
  const open: EmbedderFixture['open'] = (changes = {}) => {
    const opened = new AsyncDisposableStack();
    const settings = readSettings({
      DATA_DIR: dataDir,
      EMBEDDING_URL: server.url,
      EMBEDDING_MODEL: 'words',
      MIN_FREE_DISK_BYTES: '0',
      ...changes,
    });
    const { signal } = new AbortController();
    const embedding = openEmbedding({ settings, clock: systemClock, log, signal }, opened);
    t.teardown(() => opened.disposeAsync());
    return { embedding, close: () => opened.disposeAsync() };
  };
  return {
    server,
    lines,
    open,
    embedder: (changes) => open(changes).embedding.createEmbedder(smallCorpus(chunks).chunks()),
    dataDir,
  };
}
