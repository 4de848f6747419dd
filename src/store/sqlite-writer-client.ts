// The main thread's end of the writing thread: calls in, promises out. What is called in one turn of the loop goes in one
// message, and so into one transaction.

import { Worker } from 'node:worker_threads';
import { RagmillError } from '../errors.ts';
import type { WriterAnswer, WriterCall, WriterMethod } from './sqlite-thread.ts';
import type { SqliteWriter } from './sqlite-writer.ts';

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

const THREAD_ENDED = 'The writing thread of the store has ended.';

export class SqliteWriterClient {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  readonly #died = Promise.withResolvers<Error>();
  #outbox: WriterCall[] = [];
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
      if (this.#outbox.length === 1) setImmediate(() => this.#post());
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

  #post(): void {
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
