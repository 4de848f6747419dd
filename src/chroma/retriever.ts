// Questions to passages, as the RAG stage needs them.
//
// 1. Every question ends with exactly one outcome; only the caller's own signal makes retrieve() reject.
// 2. Questions share calls (micro-batches) but not failures that can be told apart. The same question asked by several
//    at a time is asked once.
// 3. At most `maxInFlight` calls are under way, retries included: a Chroma in trouble is not asked harder.
// 4. What fails for everybody is an outage: it is waited out and counts no attempt. A collection that is gone heals.

import type { BaseLogger } from 'pino';
import type { RetrievalOutcome } from '../domain/passage.ts';
import { type Clock, fullJitterMs } from '../time.ts';
import { BatchSize } from './batch-size.ts';
import type { ChromaFailure } from './chroma-client.ts';
import type { CollectionHandle } from './collection-handle.ts';
import { MicroBatcher } from './micro-batcher.ts';
import type { Outage } from './outage.ts';
import {
  hardEnding,
  type Question,
  type RetrievalWish,
  type Searched,
  searchPassages,
} from './passage-search.ts';

export interface RetrieverOptions {
  readonly handle: CollectionHandle;
  readonly outage: Pick<Outage, 'passed' | 'isToBlame'>;
  /** Attempts that fail by themselves before a question fails: 1 = no retry. */
  readonly maxAttempts: number;
  /** Deadline of one call. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly log: BaseLogger;
  readonly maxBatchQuestions?: number;
  readonly maxInFlight?: number;
}

/** A question on its way, and all who wait for its outcome. */
interface Asked extends Question {
  readonly key: string;
  readonly group: string;
  readonly waiters: Set<(outcome: RetrievalOutcome) => void>;
}

/**
 * One call would leave Chroma idle while its answer is ranked; more add latency without adding speed (measured once, by
 * hand). Two cost Chroma 1.0 to 1.3 times the processor time of one (npm run bench:retrieval-cost).
 */
const defaultMaxInFlight = 2;
const retryBaseMs = 100;
const retryCapMs = 2_000;
/** Times that a question may meet a collection that is gone although it was just healed. */
const vanishedMax = 20;

export class Retriever {
  readonly #options: RetrieverOptions;
  readonly #batcher: MicroBatcher<Asked>;
  readonly #batchSize = new BatchSize();
  readonly #asked = new Map<string, Asked>();

  constructor(options: RetrieverOptions) {
    this.#options = options;
    this.#batcher = new MicroBatcher({
      maxItems: () => options.maxBatchQuestions ?? this.#batchSize.value,
      maxInFlight: options.maxInFlight ?? defaultMaxInFlight,
      groupOf: (question) => question.group,
      run: (questions) => this.#answer(questions),
    });
  }

  /** Questions that have no outcome yet. */
  get pending(): number {
    return this.#asked.size;
  }

  /** The passages nearest to the question. Rejects only with the signal's reason. */
  retrieve(query: string, wish: RetrievalWish, signal?: AbortSignal): Promise<RetrievalOutcome> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const { promise, resolve, reject } = Promise.withResolvers<RetrievalOutcome>();
    const question = this.#join(query, wish);
    const abandon = () => {
      question.waiters.delete(settle);
      if (question.waiters.size === 0) this.#forget(question);
      reject(signal?.reason);
    };
    const settle = (outcome: RetrievalOutcome) => {
      signal?.removeEventListener('abort', abandon);
      resolve(outcome);
    };
    question.waiters.add(settle);
    signal?.addEventListener('abort', abandon, { once: true });
    return promise;
  }

  /** The same question under way, or a new one. */
  #join(query: string, wish: RetrievalWish): Asked {
    const { topK, maxDistance, where } = wish;
    const group = JSON.stringify([topK, where]);
    const key = JSON.stringify([query, maxDistance, group]);
    const joined = this.#asked.get(key);
    if (joined) return joined;
    const question: Asked = { query, topK, maxDistance, where, key, group, waiters: new Set() };
    this.#asked.set(key, question);
    this.#batcher.add(question);
    return question;
  }

  /** Nobody waits for it any more. */
  #forget(question: Asked): void {
    this.#batcher.remove(question);
    if (this.#asked.get(question.key) === question) this.#asked.delete(question.key);
  }

  async #answer(questions: readonly Asked[]): Promise<void> {
    const { outage, clock } = this.#options;
    let open = questions;
    let failures = 0;
    for (let vanished = 0; ; ) {
      await outage.passed();
      open = open.filter(({ waiters }) => waiters.size > 0);
      if (open.length === 0) return;
      const searched = await this.#search(open);
      for (const { question, ending } of searched.answered) {
        this.#settle(question, { ...ending, attempts: failures + 1 });
      }
      const { failed, failure } = searched;
      if (failure === null || failed.length === 0) return;
      open = failed;
      if (failure.class !== 'cancelled' && (await outage.isToBlame())) continue;
      if (failure.class === 'not_found' && vanished < vanishedMax) vanished += 1;
      else failures += 1;
      if (failures > 0 && this.#isLast(failures, failure, open.length)) {
        for (const question of open) this.#settle(question, { ...hardEnding(failure), attempts: failures });
        return;
      }
      await clock.sleep(fullJitterMs(failures + vanished, retryBaseMs, retryCapMs));
    }
  }

  #isLast(failures: number, failure: ChromaFailure, questions: number): boolean {
    const isLast = failures >= this.#options.maxAttempts || !isWorthRetrying(failure);
    const fields = { class: failure.class, reason: failure.message, attempts: failures, questions };
    const { log } = this.#options;
    log[isLast ? 'error' : 'warn'](fields, isLast ? 'retrieval failed' : 'retrieval failed, trying again');
    return isLast;
  }

  /** One attempt; where the collection turns out to be gone, once more in the one that is there instead. */
  async #search(questions: readonly Asked[]): Promise<Searched<Asked>> {
    const { handle } = this.#options;
    const build = handle.current;
    const first = await this.#timed(build, questions);
    if (first.failure?.class !== 'not_found') return first;
    const healed = await handle.heal(build);
    if (healed.kind === 'failure') return { ...first, failure: healed };
    const again = await this.#timed(healed.value, first.failed);
    return { ...again, answered: [...first.answered, ...again.answered] };
  }

  async #timed(build: CollectionHandle['current'], questions: readonly Asked[]): Promise<Searched<Asked>> {
    const { clock, timeoutMs } = this.#options;
    const startedAtMs = clock.monotonicMs();
    const searched = await searchPassages(build, questions, { timeoutMs });
    this.#batchSize.observe(questions.length, clock.monotonicMs() - startedAtMs);
    return searched;
  }

  #settle(question: Asked, outcome: RetrievalOutcome): void {
    if (this.#asked.get(question.key) === question) this.#asked.delete(question.key);
    for (const settle of question.waiters) settle(outcome);
    question.waiters.clear();
  }
}

function isWorthRetrying({ class: failureClass }: ChromaFailure): boolean {
  return failureClass !== 'rejected' && failureClass !== 'cancelled';
}
