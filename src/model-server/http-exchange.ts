// One HTTP request and its response, told as a single ending. Bytes are handed on as they arrive.
//
// 1. It ends exactly once; what the connection does afterwards is of no interest.
// 2. To stop it is to destroy its socket: that is what frees the GPU at the other end.
// 3. A stop that comes before the socket is connected ends it at once and nothing is ever sent.

import type { Dispatcher } from 'undici';
import type { DeadlineName } from './deadlines.ts';

export type ResponseHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** Reads a response while it arrives. */
export interface ResponseReader {
  head(status: number, headers: ResponseHeaders): void;
  body(bytes: Uint8Array): void;
}

/** Why this side ended it. */
export type StopReason = DeadlineName | 'cancelled';

export type ExchangeEnd =
  | { readonly kind: 'ended' }
  | { readonly kind: 'too_large' }
  | { readonly kind: 'stopped'; readonly reason: StopReason }
  | { readonly kind: 'broken'; readonly error: Error };

export class HttpExchange implements Dispatcher.DispatchHandler {
  readonly ended: Promise<ExchangeEnd>;
  readonly #end: (end: ExchangeEnd) => void;
  readonly #reader: ResponseReader;
  readonly #maxBytes: number;
  #controller: Dispatcher.DispatchController | null = null;
  #isOver = false;
  #receivedBytes = 0;

  /** `maxBytes`: the largest response that is read. */
  constructor(reader: ResponseReader, maxBytes: number) {
    const { promise, resolve } = Promise.withResolvers<ExchangeEnd>();
    this.ended = promise;
    this.#end = resolve;
    this.#reader = reader;
    this.#maxBytes = maxBytes;
  }

  /** Whether there was a connection to send the request on; if not, the server knows nothing of it. */
  get hasStarted(): boolean {
    return this.#controller !== null;
  }

  stop(reason: StopReason): void {
    this.#finish({ kind: 'stopped', reason });
    this.#abort();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#isOver) this.#abort();
  }

  onResponseStart(_controller: unknown, status: number, headers: ResponseHeaders): void {
    // An informational answer (1xx) is followed by the real one.
    if (!this.#isOver && status >= 200) this.#reader.head(status, headers);
  }

  onResponseData(_controller: unknown, bytes: Uint8Array): void {
    if (this.#isOver) return;
    this.#receivedBytes += bytes.byteLength;
    if (this.#receivedBytes > this.#maxBytes) {
      this.#finish({ kind: 'too_large' });
      this.#abort();
      return;
    }
    this.#reader.body(bytes);
  }

  onResponseEnd(): void {
    this.#finish({ kind: 'ended' });
  }

  onResponseError(_controller: unknown, error: Error): void {
    this.#finish({ kind: 'broken', error });
  }

  #finish(end: ExchangeEnd): void {
    this.#isOver = true;
    this.#end(end);
  }

  #abort(): void {
    this.#controller?.abort(new Error('the exchange is over'));
  }
}
