// What a bench needs to ask the Chroma of a running service as the service does: a corpus, questions about it with the
// vectors that the service makes of them, the collection, and the process that serves it.

import { createWriteStream, readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pino from 'pino';
import { BoundCollection } from '../../src/chroma/bound-collection.ts';
import { ChromaConnection } from '../../src/chroma/chroma-client.ts';
import { openCorpus } from '../../src/chroma/corpus-source.ts';
import { candidatesFor } from '../../src/chroma/exact-ranking.ts';
import { lexicalEmbedding } from '../../src/chroma/lexical-embedding.ts';
import type { ServiceProcess } from '../../src/cli/service-process.ts';
import type { Embedder } from '../../src/domain/embedder.ts';
import { GeneratedCorpus } from './generated-corpus.ts';

const TIMEOUT_MS = 60_000;
const CHUNK_CHARACTERS = 1500;

export interface Asked {
  readonly query: string;
  readonly vector: Float32Array;
}

/** A corpus that stands in a file, for CORPUS_PATH. */
export class CorpusFile {
  readonly path: string;
  readonly #chunks: number;
  readonly #source = new GeneratedCorpus();

  private constructor(path: string, chunks: number) {
    this.path = path;
    this.#chunks = chunks;
  }

  static async write(path: string, chunks: number): Promise<CorpusFile> {
    const corpus = new CorpusFile(path, chunks);
    const lines = function* () {
      for (const chunk of corpus.#source.chunks(chunks)) yield `${JSON.stringify(chunk)}\n`;
    };
    await pipeline(Readable.from(lines()), createWriteStream(path));
    return corpus;
  }

  /** The embedder that a service with this corpus uses. */
  embedder(): Promise<Embedder> {
    const corpus = openCorpus({
      path: this.path,
      chunkCharacters: CHUNK_CHARACTERS,
      log: pino({ level: 'warn' }),
    });
    return lexicalEmbedding.createEmbedder(corpus.chunks());
  }

  /** Questions that differ, and that share a word with the corpus. */
  async questions(embedder: Embedder, wanted: number): Promise<Asked[]> {
    const queries = [...new Set(this.#source.questions(2 * wanted, this.#chunks))];
    const vectors = await embedder.embedQueries(queries);
    const asked = queries.flatMap((query, at) => {
      const vector = vectors[at];
      return vector instanceof Float32Array ? [{ query, vector }] : [];
    });
    if (asked.length < wanted) throw new Error(`only ${asked.length} questions`);
    return asked.slice(0, wanted);
  }
}

/** The Chroma that a service has started, asked for the collection that it uses. */
export class ServiceChroma {
  readonly pid: number;
  readonly #collection: BoundCollection;
  readonly #topK: number;

  private constructor(pid: number, collection: BoundCollection, topK: number) {
    this.pid = pid;
    this.#collection = collection;
    this.#topK = topK;
  }

  /** As many records a question as the service asks for with `topK` passages. */
  static async of(service: ServiceProcess, embedder: Embedder, topK: number): Promise<ServiceChroma> {
    const log = readFileSync(service.logPath, 'utf8').split('\n');
    const line = log.find((text) => text.includes('"msg":"embedded Chroma is serving"'));
    if (!line) throw new Error('the service has started no Chroma');
    const { url, pid } = JSON.parse(line) as { url: string; pid: number };
    const { uuid } = (await (await fetch(`${service.url}/collection`)).json()) as { uuid: string };
    const collection = new BoundCollection(new ChromaConnection({ url }), uuid);
    return new ServiceChroma(pid, collection, candidatesFor(embedder, topK));
  }

  /** Texts of the records found, of each vector. */
  async query(vectors: readonly Float32Array[]): Promise<string[][]> {
    const found = await this.#collection.query(vectors, { topK: this.#topK, timeoutMs: TIMEOUT_MS });
    if (found.kind === 'failure') throw new Error(found.message);
    return found.value.map((records) => records.map(({ text }) => text));
  }
}
