// Questions to passages, as the RAG stage needs them.
//
// 1. Every question ends with exactly one outcome; only the caller's own signal makes retrieve() reject.
// 2. Questions share calls (micro-batches) but not failures that can be told apart: a question without a usable vector
//    leaves its batch before Chroma is asked.
// 3. At most `maxInFlight` calls are under way, retries included: a Chroma in trouble is not asked harder.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BaseLogger } from 'pino';
import type { Embedder } from '../domain/embedder.ts';
import type { RetrievalOutcome } from '../domain/passage.ts';
import type { ErrorCode } from '../errors.ts';
import { type Clock, fullJitterMs } from '../time.ts';
import { type ChromaFailure, type ChromaResult, failure } from './chroma-client.ts';
import { type FoundRecord, toPassage } from './chunk-record.ts';
import type { CollectionHandle } from './collection-handle.ts';
import { candidatesFor, rankExactly } from './exact-ranking.ts';
import { MicroBatcher } from './micro-batcher.ts';
import { embedQuestions, type QuestionWithoutVector } from './question-vectors.ts';

export interface RetrieverOptions {
  readonly collection: CollectionHandle;
  readonly embedder: Embedder;
  /** Number of the collection's build, which every outcome names. */
  readonly generation: number;
  /** Calls made for a question before it fails: 1 = no retry. */
  readonly maxAttempts: number;
  /** Deadline of one call. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly log: BaseLogger;
  readonly maxBatchQuestions?: number;
  readonly maxInFlight?: number;
}

export interface RetrievalWish {
  /** At most this many passages. */
  readonly topK: number;
  /** Passages farther away are left out; null keeps them all. */
  readonly maxDistance: number | null;
}

interface Question extends RetrievalWish {
  readonly query: string;
  readonly settle: (outcome: RetrievalOutcome) => void;
  isAbandoned: boolean;
}

/** An outcome as long as nobody has counted the attempts. */
type Ending = RetrievalOutcome extends infer Outcome
  ? Outcome extends unknown
    ? Omit<Outcome, 'attempts'>
    : never
  : never;

/**
 * One call with 16 to 64 questions answers 1.0 to 4.9 times as many per second as single calls, and more than one or two
 * calls at a time add latency without adding speed (measured once, by hand, with 10,000 and 100,000 vectors).
 */
const defaultMaxBatchQuestions = 64;
const defaultMaxInFlight = 2;
const retryBaseMs = 100;
const retryCapMs = 2_000;
/** Questions ranked in one turn of the event loop: a few milliseconds at most. */
const rankedPerTurn = 4;

export class Retriever {
  readonly #options: RetrieverOptions;
  readonly #batcher: MicroBatcher<Question>;

  constructor(options: RetrieverOptions) {
    this.#options = options;
    this.#batcher = new MicroBatcher({
      maxItems: options.maxBatchQuestions ?? defaultMaxBatchQuestions,
      maxInFlight: options.maxInFlight ?? defaultMaxInFlight,
      groupOf: (question) => question.topK,
      run: (questions) => this.#answer(questions),
    });
  }

  /** The passages nearest to the question. Rejects only with the signal's reason. */
  retrieve(query: string, wish: RetrievalWish, signal?: AbortSignal): Promise<RetrievalOutcome> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const { promise, resolve, reject } = Promise.withResolvers<RetrievalOutcome>();
    const abandon = () => {
      question.isAbandoned = true;
      this.#batcher.remove(question);
      reject(signal?.reason);
    };
    const settle = (outcome: RetrievalOutcome) => {
      signal?.removeEventListener('abort', abandon);
      resolve(outcome);
    };
    const question: Question = { ...wish, query, settle, isAbandoned: false };
    signal?.addEventListener('abort', abandon, { once: true });
    this.#batcher.add(question);
    return promise;
  }

  async #answer(questions: readonly Question[]): Promise<void> {
    const vectors = await embedQuestions(
      this.#options.embedder,
      questions.map((question) => question.query),
      { timeoutMs: this.#options.timeoutMs },
    );
    const asked: { question: Question; vector: Float32Array }[] = [];
    for (const [index, question] of questions.entries()) {
      const embedded = vectors[index];
      if (embedded?.kind === 'vector') asked.push({ question, vector: embedded.vector });
      else question.settle({ ...this.#endingWithoutVector(embedded), attempts: 1 });
    }
    if (asked.length === 0) return;
    const { found, attempts } = await this.#askChroma(asked);
    for (const [index, { question }] of asked.entries()) {
      // Ranking is work for the processor: other callers get their turn in between.
      if (index % rankedPerTurn === rankedPerTurn - 1) await nextTurn();
      const ending =
        found.kind === 'ok' ? this.#select(question, found.value[index] ?? []) : hardEnding(found);
      question.settle({ ...ending, attempts });
    }
  }

  /** One query for all of them, with limited retries. Ends early when nobody waits any more. */
  async #askChroma(
    asked: readonly { readonly question: Question; readonly vector: Float32Array }[],
  ): Promise<{ found: ChromaResult<FoundRecord[][]>; attempts: number }> {
    const { collection, maxAttempts, timeoutMs, clock, log } = this.#options;
    const candidates = candidatesFor(this.#options.embedder, asked[0]?.question.topK ?? 0);
    const vectors = asked.map(({ vector }) => vector);
    for (let attempts = 1; ; attempts++) {
      if (asked.every(({ question }) => question.isAbandoned)) {
        return { found: failure('cancelled', 'Nobody waits any more'), attempts };
      }
      const found = refuseEmpty(await collection.query(vectors, { topK: candidates, timeoutMs }));
      if (found.kind === 'ok') return { found, attempts };
      const isLast = attempts >= maxAttempts || !isWorthRetrying(found);
      const fields = { class: found.class, reason: found.message, attempts, questions: asked.length };
      log[isLast ? 'error' : 'warn'](fields, isLast ? 'retrieval failed' : 'retrieval failed, trying again');
      if (isLast) return { found, attempts };
      await clock.sleep(fullJitterMs(attempts, retryBaseMs, retryCapMs));
    }
  }

  #endingWithoutVector(embedded: QuestionWithoutVector | undefined): Ending {
    if (embedded === undefined) return hardEnding(failure('server', 'The embedder gave too few vectors'));
    if (embedded.kind === 'failed') return hardEnding(failure(embedded.class, embedded.message));
    return this.#softEnding(
      embedded.kind === 'no_term' ? 'nothing_found' : 'query_unusable',
      embedded.message,
    );
  }

  #select(question: Question, records: readonly FoundRecord[]): Ending {
    const { maxDistance } = question;
    if (records.length === 0)
      return this.#softEnding('nothing_found', 'Nothing in the collection is near the question');
    const related = rankExactly(this.#options.embedder, question, records);
    if (related.length === 0)
      return this.#softEnding('nothing_found', 'No passage shares a term with the question');
    const near = related.filter((record) => maxDistance === null || record.distance <= maxDistance);
    if (near.length === 0)
      return this.#softEnding('nothing_found', `No passage is within distance ${maxDistance}`);
    return { kind: 'success', passages: near.map(toPassage), collectionGeneration: this.#options.generation };
  }

  #softEnding(code: ErrorCode, message: string): Ending {
    return { kind: 'soft_failure', code, message, collectionGeneration: this.#options.generation };
  }
}

/**
 * A collection is READY only with chunks in it, and a query finds the nearest ones however far they are: where none of
 * them finds anything, the collection was emptied or is being filled by somebody else.
 */
function refuseEmpty(found: ChromaResult<FoundRecord[][]>): ChromaResult<FoundRecord[][]> {
  const isEmpty = found.kind === 'ok' && found.value.every((records) => records.length === 0);
  return isEmpty ? failure('not_found', 'The collection is empty') : found;
}

function isWorthRetrying(failed: ChromaFailure): boolean {
  return failed.class !== 'rejected' && failed.class !== 'not_owned';
}

function hardEnding(failed: ChromaFailure): Ending {
  const code: ErrorCode = failed.class === 'timeout' ? 'rag_timeout' : 'rag_unavailable';
  return { kind: 'hard_failure', code, message: failed.message };
}
