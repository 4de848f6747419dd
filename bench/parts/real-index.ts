// A collection as the service builds and asks it: the real bootstrap into an embedded Chroma, and questions in calls as
// large and as many at a time as the retriever's.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HNSWConfiguration } from 'chromadb';
import pino from 'pino';
import { Bootstrap } from '../../src/chroma/bootstrap.ts';
import { ChromaConnection } from '../../src/chroma/chroma-client.ts';
import type { FoundRecord } from '../../src/chroma/chunk-record.ts';
import { type FileCorpus, openCorpus } from '../../src/chroma/corpus-source.ts';
import { EmbeddedChroma } from '../../src/chroma/embedded-server.ts';
import { candidatesFor, rankExactly } from '../../src/chroma/exact-ranking.ts';
import { lexicalEmbedding } from '../../src/chroma/lexical-embedding.ts';
import type { ReadyCollection } from '../../src/chroma/ready-collection.ts';
import { systemClock } from '../../src/time.ts';
import { LoneRankZero } from './lone-rank-zero.ts';

export const QUESTIONS_A_CALL = 64;
export const CALLS_IN_FLIGHT = 2;

export class RealIndex implements AsyncDisposable {
  readonly corpus: FileCorpus;
  readonly ready: ReadyCollection;
  readonly serverPid: number;
  /** From the first write to READY. */
  readonly fillingMs: number;
  readonly #stop: () => Promise<void>;

  private constructor(
    built: Pick<RealIndex, 'corpus' | 'ready' | 'serverPid' | 'fillingMs'>,
    stop: () => Promise<void>,
  ) {
    this.corpus = built.corpus;
    this.ready = built.ready;
    this.serverPid = built.serverPid;
    this.fillingMs = built.fillingMs;
    this.#stop = stop;
  }

  /** `onServer` is called before anything is read, with the id of Chroma's process. */
  static async build(
    corpusPath: string,
    index: HNSWConfiguration,
    onServer: (pid: number) => void = () => {},
  ): Promise<RealIndex> {
    const log = pino({ level: 'warn' });
    const dataDir = mkdtempSync(join(tmpdir(), 'ragmill-bench-'));
    const chroma = new EmbeddedChroma({ dataDir, log, clock: systemClock });
    const stop = async () => {
      await chroma.stop();
      rmSync(dataDir, { recursive: true });
    };
    try {
      const { url } = await chroma.start();
      const serverPid = chroma.pid ?? 0;
      onServer(serverPid);
      const corpus = openCorpus({ path: corpusPath, chunkCharacters: 1500, log });
      const bootstrap = new Bootstrap({
        rankZero: new LoneRankZero(),
        connection: new ChromaConnection({ url }),
        corpus,
        embedding: { ...lexicalEmbedding, index },
        collectionName: 'bench',
        resetCollection: 'always',
        timeoutMs: 60_000,
        clock: systemClock,
        log,
      });
      let filledFromMs = performance.now();
      const watch = setInterval(() => {
        if (bootstrap.state.phase !== 'filling') filledFromMs = performance.now();
      }, 20);
      const ready = await bootstrap.run(new AbortController().signal).finally(() => clearInterval(watch));
      return new RealIndex({ corpus, ready, serverPid, fillingMs: performance.now() - filledFromMs }, stop);
    } catch (error) {
      await stop();
      throw error;
    }
  }

  /** What the index itself finds for each question. */
  async find(queries: readonly string[], topK: number): Promise<FoundRecord[][]> {
    const vectors = await this.ready.embedder.embedQueries(queries);
    const found: FoundRecord[][] = queries.map(() => []);
    const askable = vectors.flatMap((vector, at) => (vector instanceof Float32Array ? [{ vector, at }] : []));
    const run = async () => {
      for (
        let call = askable.splice(0, QUESTIONS_A_CALL);
        call.length > 0;
        call = askable.splice(0, QUESTIONS_A_CALL)
      ) {
        const asked = call.map(({ vector }) => vector);
        const answer = await this.ready.collection.query(asked, { topK, timeoutMs: 60_000 });
        if (answer.kind === 'failure') throw new Error(answer.message);
        for (const [place, records] of answer.value.entries()) found[call[place]?.at ?? 0] = records;
      }
    };
    await Promise.all(Array.from({ length: CALLS_IN_FLIGHT }, run));
    return found;
  }

  /** What the service gives for each question: candidates, ranked exactly. */
  async retrieve(queries: readonly string[], topK: number): Promise<(readonly FoundRecord[])[]> {
    const { embedder } = this.ready;
    const found = await this.find(queries, candidatesFor(embedder, topK));
    return found.map((records, at) => rankExactly(embedder, { query: queries[at] ?? '', topK }, records));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
  }
}
