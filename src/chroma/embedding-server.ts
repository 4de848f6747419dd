// Texts to vectors by an embedding server, one verdict for each text.
//
// 1. A text that the server does not take costs its neighbours nothing: what is refused is halved until it stands alone.
// 2. Refused texts are at fault only if the server still takes a harmless one. If not, the server is, and it has failed for
//    all of them: a server that refuses everything must not look like a batch of bad questions.
// 3. A server that asks for a pause (429, 503) gets it, from all callers.

import type { BaseLogger } from 'pino';
import type { FailedText, UnusableText } from '../domain/embedder.ts';
import type { ModelFailure } from '../domain/failure.ts';
import type { EmbeddingsOutcome } from '../model-server/embeddings-response.ts';
import type { ModelServerClient } from '../model-server/model-server-client.ts';
import { fullJitterMs } from '../time.ts';
import { EmbedderFailure, embedderFailure } from './embedder-failure.ts';
import { isDirection } from './question-vectors.ts';

export interface EmbeddingServerOptions {
  readonly client: ModelServerClient;
  /** The route itself: see embeddingsAddress. */
  readonly url: string;
  readonly apiKey: string | null;
  readonly model: string;
  /** Most texts of a request, as long as the server takes that many. */
  readonly maxTexts: number;
  /** Deadline of one request. */
  readonly callTimeoutMs: number;
  readonly log: BaseLogger;
}

export interface AskingLimits {
  /** Ends all of it, by the client's monotonic clock; null: only each request has its deadline. */
  readonly endMs: number | null;
  /** How long the server may keep failing in a way that passes by itself. */
  readonly patienceMs: number;
  readonly signal?: AbortSignal | undefined;
}

export type TextVerdict =
  | { readonly kind: 'vector'; readonly vector: Float32Array }
  | UnusableText
  | FailedText;

/** One call of embed(), with what is found out only once in it. */
interface Asking extends AskingLimits {
  readonly startMs: number;
  harmlessText?: Promise<void>;
}

/** Bounds a request where texts are long: OpenAI takes 300,000 tokens, Text Embeddings Inference two megabytes. */
const BATCH_MAX_CHARACTERS = 200_000;
const HARMLESS_TEXT = 'The quick brown fox jumps over the lazy dog.';
const RETRY_BASE_MS = 100;
const RETRY_CAP_MS = 2_000;

export class EmbeddingServer {
  readonly #options: EmbeddingServerOptions;
  /** For messages: a query may hold a secret. */
  readonly #where: string;
  #maxTexts: number;
  #dimensions: number | null = null;
  #notBeforeMs = 0;
  /** base64 is a quarter of the bytes and nearly free to read; some servers know lists of numbers only. */
  #encoding: 'base64' | 'float' = 'base64';
  #isEncodingProved = false;
  readonly #trustedModels = new Set<string | null>();
  readonly #answeredModels = new Set<string | null>();
  #wasAway = false;

  constructor(options: EmbeddingServerOptions) {
    this.#options = options;
    const { origin, pathname } = new URL(options.url);
    this.#where = `${origin}${pathname}`;
    this.#maxTexts = options.maxTexts;
  }

  /** 0 before the first vector; fixed from then on. */
  get dimensions(): number {
    return this.#dimensions ?? 0;
  }

  /** The names under which the server has answered since it was trusted last. */
  get answeredModels(): readonly (string | null)[] {
    return [...this.#answeredModels];
  }

  /** It was away or has named another model: what it makes now may be other vectors than before. */
  get isDoubtful(): boolean {
    return this.#wasAway || [...this.#answeredModels].some((model) => !this.#trustedModels.has(model));
  }

  /** Its vectors were looked at and are those they should be. */
  trust(): void {
    this.#wasAway = false;
    for (const model of this.#answeredModels) this.#trustedModels.add(model);
    this.#answeredModels.clear();
  }

  /** Cuts a list into requests of a size that the server takes, as far as that is known. */
  *batches(texts: readonly string[]): Generator<string[]> {
    let batch: string[] = [];
    let characters = 0;
    for (const text of texts) {
      const isFull = batch.length >= this.#maxTexts || characters + text.length > BATCH_MAX_CHARACTERS;
      if (batch.length > 0 && isFull) {
        yield batch;
        batch = [];
        characters = 0;
      }
      batch.push(text);
      characters += text.length;
    }
    if (batch.length > 0) yield batch;
  }

  /** One verdict for each text, in their order. Throws an EmbedderFailure, or the signal's reason. */
  async embed(texts: readonly string[], limits: AskingLimits): Promise<TextVerdict[]> {
    const { clock } = this.#options.client;
    const startMs = clock.monotonicMs();
    for (let failures = 0; ; failures++) {
      try {
        const verdicts = await this.#resolve(texts, { ...limits, startMs });
        const failed = limits.patienceMs > 0 && verdicts.find((verdict) => verdict.kind === 'failed');
        if (failed) throw failed.error;
        return verdicts;
      } catch (error) {
        if (!(error instanceof EmbedderFailure)) throw error;
        if (error.class === 'unreachable') this.#wasAway = true;
        if (!error.isCurable || clock.monotonicMs() - startMs >= limits.patienceMs) throw error;
        if (failures === 0) this.#options.log.warn({ reason: error.message }, 'waiting for the embedder');
        await clock.sleep(fullJitterMs(failures, RETRY_BASE_MS, RETRY_CAP_MS), limits.signal);
      }
    }
  }

  async #resolve(texts: readonly string[], asking: Asking): Promise<TextVerdict[]> {
    const outcome = await this.#ask(texts, asking);
    if (outcome.kind === 'embeddings') {
      this.#checkLengths(outcome.vectors);
      this.#answeredModels.add(outcome.model);
      return this.#judge(texts, outcome.vectors, asking);
    }
    await this.#requireHarmlessText(asking);
    if (texts.length === 1) return [this.#verdictOfRefusal(outcome)];
    const half = Math.ceil(texts.length / 2);
    const verdicts = await this.#resolve(texts.slice(0, half), asking);
    verdicts.push(...(await this.#resolve(texts.slice(half), asking)));
    const wasTooMany = verdicts.every(({ kind }) => kind === 'vector') && outcome.class === 'request';
    if (wasTooMany && half < this.#maxTexts) {
      this.#maxTexts = half;
      const { log } = this.#options;
      log.info({ texts: half, reason: outcome.message }, 'the embedder takes fewer texts a request');
    }
    return verdicts;
  }

  /** A vector without direction may be the fault of its neighbours: its text is asked for once more, alone. */
  async #judge(
    texts: readonly string[],
    vectors: readonly Float32Array[],
    asking: Asking,
  ): Promise<TextVerdict[]> {
    const verdicts: TextVerdict[] = [];
    for (const [index, text] of texts.entries()) {
      const vector = vectors[index];
      if (vector !== undefined && isDirection(vector)) verdicts.push({ kind: 'vector', vector });
      else {
        await this.#requireHarmlessText(asking);
        if (texts.length > 1) verdicts.push(...(await this.#resolve([text], asking)));
        else verdicts.push({ kind: 'unusable', message: 'The embedder made no usable vector of the text' });
      }
    }
    return verdicts;
  }

  #verdictOfRefusal(refusal: ModelFailure): TextVerdict {
    if (refusal.class !== 'request') return { kind: 'failed', error: this.#failureOf(refusal) };
    return { kind: 'unusable', message: `The embedder refused the text: ${refusal.message}` };
  }

  /** Throws unless the server still makes a vector of a text that no embedder could object to. */
  #requireHarmlessText(asking: Asking): Promise<void> {
    asking.harmlessText ??= this.#ask([HARMLESS_TEXT], asking).then((outcome) => {
      if (outcome.kind === 'failure') throw this.#failureOf(outcome);
      this.#checkLengths(outcome.vectors);
      if (outcome.vectors.every(isDirection)) return;
      throw new EmbedderFailure('server', `The embedder at ${this.#where} makes no usable vectors.`);
    });
    return asking.harmlessText;
  }

  /** Vectors, or a failure that may be the fault of the texts; all others are thrown. Waits where the server asks for it. */
  async #ask(
    texts: readonly string[],
    asking: Asking,
  ): Promise<Extract<EmbeddingsOutcome, { kind: 'embeddings' }> | ModelFailure> {
    const { clock } = this.#options.client;
    for (let failures = 0; ; failures++) {
      await this.#pause(asking);
      const outcome = await this.#call(texts, asking);
      if (outcome.kind === 'embeddings' || mayBeTheTexts(outcome)) return outcome;
      if (outcome.class === 'cancelled') asking.signal?.throwIfAborted();
      if (outcome.class !== 'overload') throw this.#failureOf(outcome);
      const waitMs = outcome.retryAfterMs ?? fullJitterMs(failures, RETRY_BASE_MS, RETRY_CAP_MS);
      const nowMs = clock.monotonicMs();
      this.#notBeforeMs = Math.max(this.#notBeforeMs, nowMs + waitMs);
      const isOver =
        asking.endMs === null
          ? nowMs - asking.startMs >= asking.patienceMs
          : this.#notBeforeMs >= asking.endMs;
      if (isOver) throw this.#failureOf(outcome);
    }
  }

  async #pause({ endMs, signal }: Asking): Promise<void> {
    const { clock } = this.#options.client;
    const waitMs = this.#notBeforeMs - clock.monotonicMs();
    if (waitMs <= 0) return;
    if (endMs !== null && this.#notBeforeMs >= endMs) {
      throw new EmbedderFailure(
        'server',
        `The embedder at ${this.#where} has asked not to be asked for ${Math.ceil(waitMs)} ms.`,
      );
    }
    await clock.sleep(waitMs, signal);
  }

  /** One request; a second one where the server may not know the encoding that was asked for. */
  async #call(texts: readonly string[], asking: Asking): Promise<EmbeddingsOutcome> {
    const outcome = await this.#callWith(this.#encoding, texts, asking);
    if (outcome.kind === 'embeddings') this.#isEncodingProved = true;
    if (this.#isEncodingProved || outcome.kind === 'embeddings' || !mayBeTheTexts(outcome)) return outcome;
    const second = await this.#callWith('float', texts, asking);
    if (second.kind === 'failure') return outcome;
    this.#encoding = 'float';
    this.#isEncodingProved = true;
    return second;
  }

  #callWith(
    encoding: 'base64' | 'float',
    texts: readonly string[],
    { endMs, signal }: Asking,
  ): Promise<EmbeddingsOutcome> {
    const { client, url, apiKey, model, callTimeoutMs } = this.#options;
    const leftMs =
      endMs === null ? callTimeoutMs : Math.min(callTimeoutMs, endMs - client.clock.monotonicMs());
    const timeoutMs = Math.max(1, leftMs);
    return client.embeddings({ url, apiKey, model, texts, encoding, timeoutMs }, signal);
  }

  #checkLengths(vectors: readonly Float32Array[]): void {
    for (const { length } of vectors) {
      this.#dimensions ??= length;
      if (length === this.#dimensions && length > 0) continue;
      const told = `vectors of ${length} numbers, not of ${this.#dimensions} as before`;
      throw new EmbedderFailure(
        'server',
        `The embedder at ${this.#where} gives ${told}: it serves another model now.`,
      );
    }
  }

  #failureOf(failed: ModelFailure): EmbedderFailure {
    return embedderFailure(failed, this.#where);
  }
}

/** A refusal, or an error of the server's own making that it answered with: a text can be the reason of both. */
function mayBeTheTexts({ class: failureClass, code }: ModelFailure): boolean {
  return failureClass === 'request' || (failureClass === 'ambiguous' && code === 'generation_failed');
}
