// Questions to passages, as the RAG stage needs them.
//
// 1. Every question ends with exactly one outcome; only the caller's own signal makes retrieve() reject.
// 2. Questions share calls (micro-batches) but not failures that can be told apart. The same question asked by several
//    at a time is asked once.
// 3. At most `maxInFlight` calls are under way, retries included: a Chroma in trouble is not asked harder.
// 4. What fails for everybody is an outage: it is waited out and counts no attempt. A collection that is gone heals.
// 5. A question that is always under way when an outage begins may be what begins them: it goes on alone, so that the
//    others get their answers, and in the end its attempts count.

import { setImmediate as nextTurn } from 'node:timers/promises';
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
  readonly outage: Pick<Outage, 'cause' | 'passed' | 'isToBlame'>;
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
  /** Attempts that count. */
  failures: number;
  /** Times that it met a collection that was gone although it was just healed. */
  vanished: number;
  /** Outages that began while it was in flight. */
  outages: number;
  /** Questions that may share its next call: fewer after a call that may have been too large. */
  callMax: number;
}

/**
 * One call would leave Chroma idle while its answer is ranked; more add latency without adding speed (measured once, by
 * hand). Two cost Chroma 1.0 to 1.3 times the processor time of one (npm run bench:retrieval-cost).
 */
const defaultMaxInFlight = 2;
/** Questions that get their outcome in one turn of the event loop: the line of each goes on at once. */
const settledPerTurn = 8;
const retryBaseMs = 100;
const retryCapMs = 2_000;
/** A call of 256 is asked again in calls of 32, one of 32 in calls of 4. */
const splitFactor = 8;
/** Outages that may begin while a question is in flight before it goes on alone. */
const sharedOutagesMax = 3;
/** And before each further one counts as an attempt: one that comes by itself hardly meets the same question so often. */
const uncountedOutagesMax = 5;
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
      maxItems: ({ callMax }) => Math.min(callMax, options.maxBatchQuestions ?? this.#batchSize.value),
      maxInFlight: options.maxInFlight ?? defaultMaxInFlight,
      groupOf: (question) => question.group,
      isAlone: ({ outages }) => outages >= sharedOutagesMax,
      run: (questions) => this.#attempt(questions),
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
    const none = { failures: 0, vanished: 0, outages: 0, callMax: Number.POSITIVE_INFINITY };
    const question: Asked = { query, topK, maxDistance, where, key, group, waiters: new Set(), ...none };
    this.#asked.set(key, question);
    this.#batcher.add(question);
    return question;
  }

  /** Nobody waits for it any more. */
  #forget(question: Asked): void {
    this.#batcher.remove(question);
    if (this.#asked.get(question.key) === question) this.#asked.delete(question.key);
  }

  /** Asks once. Whoever has no outcome then is asked again. */
  async #attempt(questions: readonly Asked[]): Promise<void> {
    const { outage, clock } = this.#options;
    await outage.passed();
    const open = questions.filter(({ waiters }) => waiters.size > 0);
    if (open.length === 0) return;
    const { answered, failed, failure } = await this.#search(open);
    for (const [index, { question, ending }] of answered.entries()) {
      if (index % settledPerTurn === settledPerTurn - 1) await nextTurn();
      this.#settle(question, { ...ending, attempts: question.failures + 1 });
    }
    if (failure === null || failed.length === 0) return;
    const isOutage = failure.class !== 'cancelled' && (await outage.isToBlame());
    const attempts = Math.max(...failed.map((question) => count(question, failure, isOutage)));
    const isLast = (question: Asked) =>
      question.failures >= this.#options.maxAttempts || (!isOutage && !isWorthRetrying(failure));
    const [last, again] = [failed.filter(isLast), failed.filter((question) => !isLast(question))];
    this.#tell(failure, attempts, { last: last.length, again: isOutage ? 0 : again.length });
    for (const question of last) {
      this.#settle(question, { ...hardEnding(failure), attempts: question.failures });
    }
    if (again.length === 0) return;
    // Where nobody is answered, smaller calls would only be more calls.
    if (outage.cause === null && failure.class !== 'not_found') this.#split(again);
    // An outage has its own pace.
    if (!isOutage) await clock.sleep(fullJitterMs(attempts, retryBaseMs, retryCapMs));
    this.#batcher.putBack(again);
  }

  /** What failed together goes on in smaller calls, and to its last attempt alone: the call may have been too large. */
  #split(questions: readonly Asked[]): void {
    const { maxAttempts } = this.#options;
    for (const question of questions) {
      const isLastAttempt = question.failures === maxAttempts - 1;
      question.callMax = isLastAttempt ? 1 : Math.ceil(questions.length / splitFactor);
    }
  }

  #tell(
    { class: failureClass, message: reason }: ChromaFailure,
    attempts: number,
    questions: { readonly last: number; readonly again: number },
  ): void {
    const { log } = this.#options;
    const fields = { class: failureClass, reason, attempts };
    if (questions.last > 0) log.error({ ...fields, questions: questions.last }, 'retrieval failed');
    if (questions.again > 0) {
      log.warn({ ...fields, questions: questions.again }, 'retrieval failed, trying again');
    }
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
    this.#batchSize.observe(questions.length, clock.monotonicMs() - startedAtMs, searched.failure === null);
    return searched;
  }

  #settle(question: Asked, outcome: RetrievalOutcome): void {
    if (this.#asked.get(question.key) === question) this.#asked.delete(question.key);
    for (const settle of question.waiters) settle(outcome);
    question.waiters.clear();
  }
}

/** Counts a call that failed, as what it was for this question. Answers its failures of all kinds but outages. */
function count(question: Asked, failure: ChromaFailure, isOutage: boolean): number {
  if (isOutage) {
    question.outages += 1;
    if (question.outages > uncountedOutagesMax) question.failures += 1;
  } else if (failure.class === 'not_found' && question.vanished < vanishedMax) question.vanished += 1;
  else question.failures += 1;
  return question.failures + question.vanished;
}

function isWorthRetrying({ class: failureClass }: ChromaFailure): boolean {
  return failureClass !== 'rejected' && failureClass !== 'cancelled';
}
