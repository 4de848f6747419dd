// The embedder that asks an embedding server.
//
// 1. No passage is lost: one that is too long for the server is embedded by its beginning, and that is said. One of which no
//    part is taken ends the build.
// 2. A question that is too long is not cut: its end is often what is asked. It is unusable, and its neighbours are not.
// 3. What comes after the server was away, or names another model, is used only after a look at its probe.

import PQueue from 'p-queue';
import type { BaseLogger } from 'pino';
import type { Embedder, EmbedLimits, FailedText, UnusableText } from '../domain/embedder.ts';
import { EmbedderFailure } from './embedder-failure.ts';
import { isSameProbe, probeTexts } from './embedder-probe.ts';
import type { EmbeddingCache } from './embedding-cache.ts';
import type { CacheBuild, CachedVector } from './embedding-cache-database.ts';
import type { AskingLimits, EmbeddingServer, TextVerdict } from './embedding-server.ts';

export interface Prefixes {
  readonly query: string;
  readonly document: string;
}

export interface ServerEmbedderOptions {
  readonly server: EmbeddingServer;
  readonly cache: EmbeddingCache;
  readonly build: CacheBuild;
  readonly fingerprint: string;
  readonly probe: Float32Array;
  readonly prefixes: Prefixes;
  /** Chunks of the corpus: with as many embedded the build is complete. */
  readonly chunkCount: number;
  /** How long a build waits for a server in trouble. */
  readonly patienceMs: number;
  /** For all questions of a call, where the caller sets no time. */
  readonly queryTimeoutMs: number;
  readonly monotonicMs: () => number;
  /** Ends a build. Questions go on while the service drains: they have their deadlines. */
  readonly signal: AbortSignal;
  readonly log: BaseLogger;
}

/** Requests under way for passages: enough to keep a GPU busy. Questions have their own, so that a build does not hold them up. */
const MAX_REQUESTS = 4;
/** What stays of a text that was refused, each time. */
const CUT_SHARE = 0.7;
/** A text refused at this length is not refused for its length. */
const CUT_MIN_CHARACTERS = 16;

export class ServerEmbedder implements Embedder {
  readonly fingerprint: string;
  readonly dimensions: number;
  readonly #options: ServerEmbedderOptions;
  readonly #documents = new PQueue({ concurrency: MAX_REQUESTS });
  readonly #queries = new PQueue({ concurrency: MAX_REQUESTS });
  /** The length at which a text was last taken after it had been refused: most texts of a corpus are alike. */
  #cutLength = Number.POSITIVE_INFINITY;
  #embedded = 0;
  #cut = 0;

  constructor(options: ServerEmbedderOptions) {
    this.#options = options;
    this.fingerprint = options.fingerprint;
    this.dimensions = options.server.dimensions;
  }

  /** Waits for a server in trouble as long as a build may. Throws an EmbedderFailure, or the signal's reason. */
  async embedDocuments(texts: readonly string[], limits: EmbedLimits = {}): Promise<Float32Array[]> {
    const { cache, build, chunkCount } = this.#options;
    const vectors = await cache.find(build, texts);
    const missing = texts.filter((_text, index) => vectors[index] === null);
    const made = await this.#embedWhole(missing, limits);
    await cache.keep(build, missing, made);
    let next = 0;
    const all = vectors.map((vector) => vector ?? made[next++]).filter((vector) => vector !== undefined);
    this.#report(all);
    this.#embedded += texts.length;
    if (this.#embedded >= chunkCount) await cache.complete(build);
    return all.map(({ vector }) => vector);
  }

  async embedQueries(
    texts: readonly string[],
    limits: EmbedLimits = {},
  ): Promise<(Float32Array | UnusableText | FailedText)[]> {
    const { prefixes, queryTimeoutMs } = this.#options;
    const asking = this.#limits({ timeoutMs: queryTimeoutMs, ...limits }, 0);
    const asked = texts.map((text) => prefixes.query + text);
    const verdicts = await this.#ask(asked, asking, this.#queries);
    return verdicts.map((verdict) => (verdict.kind === 'vector' ? verdict.vector : verdict));
  }

  /** Embeds, and cuts what is refused, until of every text something is embedded. */
  async #embedWhole(texts: readonly string[], limits: EmbedLimits): Promise<CachedVector[]> {
    const { prefixes, patienceMs, signal: ending } = this.#options;
    const signal = limits.signal === undefined ? ending : AbortSignal.any([ending, limits.signal]);
    const asking = this.#limits({ ...limits, signal }, patienceMs);
    const done = new Array<CachedVector | undefined>(texts.length).fill(undefined);
    let pending = texts.map((text, index) => ({ text, index }));
    while (pending.length > 0) {
      const asked = pending.map(({ text }) => prefixes.document + text);
      const verdicts = await this.#ask(asked, asking, this.#documents);
      const refused: typeof pending = [];
      for (const [place, { text, index }] of pending.entries()) {
        const verdict = verdicts[place];
        if (verdict?.kind === 'vector') {
          const isCut = text.length < (texts[index]?.length ?? 0);
          if (isCut) this.#cutLength = Math.min(this.#cutLength, text.length);
          done[index] = { vector: verdict.vector, cutTo: isCut ? text.length : null };
        } else refused.push({ text: this.#shorten(text, verdict), index });
      }
      pending = refused;
    }
    return done.filter((vector) => vector !== undefined);
  }

  /** Throws for a text that is short already: then its length is not what is wrong. */
  #shorten(text: string, verdict: TextVerdict | undefined): string {
    const length = Math.floor(Math.min(text.length * CUT_SHARE, this.#cutLength));
    const isStuck = length < CUT_MIN_CHARACTERS || length >= text.length;
    if (!isStuck) return text.slice(0, length).replace(/[\uD800-\uDBFF]$/, '');
    const reason = verdict?.kind === 'unusable' ? verdict.message : 'it gives no reason';
    throw new EmbedderFailure(
      'rejected',
      `The embedder takes no part of the passage that begins with "${text.slice(0, 80)}": ${reason}.`,
    );
  }

  async #ask(texts: readonly string[], limits: AskingLimits, queue: PQueue): Promise<TextVerdict[]> {
    const { server } = this.#options;
    const batches = [...server.batches(texts)];
    const failing = new AbortController();
    const ask = async (batch: readonly string[]) => {
      // What has not left when the server is found to fail need not leave.
      failing.signal.throwIfAborted();
      try {
        return await server.embed(batch, limits);
      } catch (error) {
        failing.abort(error);
        throw error;
      }
    };
    const verdicts = await Promise.all(batches.map((batch) => queue.add(() => ask(batch))));
    if (server.isDoubtful) await this.#lookAgain(limits);
    return verdicts.flat();
  }

  async #lookAgain(limits: AskingLimits): Promise<void> {
    const { server, probe } = this.#options;
    const now = await probeOf(server, limits);
    if (now !== null && isSameProbe(now, probe)) return server.trust();
    const names = server.answeredModels.filter((name) => name !== null).join(', ');
    throw new EmbedderFailure(
      'server',
      `The embedder makes other vectors now (model: ${names || 'unnamed'}) than those in the collection. Serve the model of before, or reset the collection.`,
    );
  }

  #limits({ timeoutMs, signal }: EmbedLimits, patienceMs: number): AskingLimits {
    const endMs = timeoutMs === undefined ? null : this.#options.monotonicMs() + timeoutMs;
    return { endMs, patienceMs, signal };
  }

  #report(vectors: readonly CachedVector[]): void {
    const cut = vectors.flatMap(({ cutTo }) => cutTo ?? []);
    if (cut.length === 0) return;
    const isFirst = this.#cut === 0;
    this.#cut += cut.length;
    const fields = { passages: cut.length, shortest: Math.min(...cut), sinceStart: this.#cut };
    const words = 'passages are longer than the embedder takes: only their beginnings can be found';
    if (isFirst) this.#options.log.warn(fields, `${words}; lower CORPUS_CHUNK_CHARACTERS`);
    else this.#options.log.info(fields, words);
  }
}

/** The vectors of all probe texts, one after the other; null where the server has none of one of them. */
export async function probeOf(server: EmbeddingServer, limits: AskingLimits): Promise<Float32Array | null> {
  const verdicts: TextVerdict[] = [];
  for (const batch of server.batches(probeTexts)) verdicts.push(...(await server.embed(batch, limits)));
  const vectors = verdicts.flatMap((verdict) => (verdict.kind === 'vector' ? [verdict.vector] : []));
  if (vectors.length < probeTexts.length) return null;
  const probe = new Float32Array(vectors.length * server.dimensions);
  for (const [index, vector] of vectors.entries()) probe.set(vector, index * server.dimensions);
  return probe;
}
