// The main thread's end of the writing thread: calls in, promises out. What is called in one turn of the loop goes in one
// message, and so into one transaction. What lines call one by one waits a moment for others, if the last message is fresh:
// most of a commit's work is the same for one line as for fifty.

import { Worker } from 'node:worker_threads';
import { RagmillError } from '../errors.ts';
import type { WriterAnswer, WriterCall, WriterMethod } from './sqlite-thread.ts';
import type { SqliteWriter } from './sqlite-writer.ts';

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** What each line calls. A call of another kind goes at once, and takes along what waits. */
const GATHERED: ReadonlySet<WriterMethod> = new Set(['markStarted', 'appendRecords']);
/** Between a message and the next one for calls of these kinds, at least; who comes later does not wait. */
const GATHERING_MS = 5;

const THREAD_ENDED = 'The writing thread of the store has ended.';

export class SqliteWriterClient {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  readonly #died = Promise.withResolvers<Error>();
  #outbox: WriterCall[] = [];
  #postedAtMs = Number.NEGATIVE_INFINITY;
  /** For the outbox, if what is in it waits for more. */
  #gathering: NodeJS.Timeout | null = null;
  /** The outbox goes at the end of this turn of the loop. */
  #isLeaving = false;
  #lastId = 0;
  #isClosed = false;
  #hasEnded = false;

  private constructor(path: string) {
    this.#worker = new Worker(new URL('./sqlite-thread.ts', import.meta.url), { workerData: { path } });
    this.#worker.on('message', (answers: readonly WriterAnswer[]) => {
      for (const answer of answers) this.#settle(answer);
    });
    this.#ended = new Promise((resolve) => {
      this.#worker.on('error', (error) => this.#failAll(error));
      this.#worker.on('exit', () => {
        this.#hasEnded = true;
        this.#failAll(new Error(THREAD_ENDED));
        if (!this.#isClosed) this.#died.resolve(new Error(THREAD_ENDED));
        resolve();
      });
    });
  }

  /** Resolves once the schema is current and the leftovers of the last process are gone. */
  static async open(path: string): Promise<SqliteWriterClient> {
    const client = new SqliteWriterClient(path);
    await new Promise((resolve, reject) => client.#waiting.set(0, { resolve, reject }));
    return client;
  }

  /** Resolves when the thread ends before close(): nothing can be stored from then on. */
  get died(): Promise<Error> {
    return this.#died.promise;
  }

  call<M extends WriterMethod>(
    method: M,
    ...values: Parameters<SqliteWriter[M]>
  ): Promise<ReturnType<SqliteWriter[M]>> {
    if (this.#isClosed) return Promise.reject(new RagmillError('shutting_down', 'The store is closed.'));
    if (this.#hasEnded) return Promise.reject(new Error(THREAD_ENDED));
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#outbox.push({ id, method, values });
      this.#postWithin(GATHERED.has(method) ? this.#postedAtMs + GATHERING_MS - performance.now() : 0);
    });
  }

  /** Waits for the calls made so far. */
  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#post();
      if (!this.#hasEnded) this.#worker.postMessage('close');
    }
    await this.#ended;
  }

  #postWithin(waitMs: number): void {
    if (this.#isLeaving) return;
    if (waitMs > 0) this.#gathering ??= setTimeout(() => this.#post(), waitMs);
    else {
      this.#isLeaving = true;
      setImmediate(() => this.#post());
    }
  }

  #post(): void {
    clearTimeout(this.#gathering ?? undefined);
    this.#gathering = null;
    this.#isLeaving = false;
    this.#postedAtMs = performance.now();
    if (this.#outbox.length > 0 && !this.#hasEnded) this.#worker.postMessage(this.#outbox);
    this.#outbox = [];
  }

  #settle(answer: WriterAnswer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (!('error' in answer)) {
      waiting?.resolve(answer.value);
      return;
    }
    const error = new RagmillError(answer.error.code, answer.error.message);
    // The thread ends with it, for a reason that must not be lost.
    if (error.code === 'store_corrupt') this.#died.resolve(error);
    waiting?.reject(error);
  }

  #failAll(error: Error): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}
