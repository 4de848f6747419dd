// An answer whose status is not 2xx, and the failure it stands for. Redirects are among them: they are never followed.

import type { ModelFailure } from '../domain/failure.ts';
import { classOfStatus, saidFailure } from './failures.ts';
import type { ResponseHeaders } from './http-exchange.ts';
import { parseRetryAfterMs } from './retry-after.ts';
import { errorInBody, excerpt, refusalBody } from './server-words.ts';

/** How much of an error's body is read for its message; the rest is let pass. */
const BODY_MAX_BYTES = 64 * 1024;

export class ErrorResponse {
  readonly #status: number;
  readonly #retryAfter: string | string[] | undefined;
  readonly #decoder = new TextDecoder();
  #text = '';
  #bytes = 0;

  constructor(status: number, headers: ResponseHeaders) {
    this.#status = status;
    this.#retryAfter = headers['retry-after'];
  }

  body(bytes: Uint8Array): void {
    if (this.#bytes > BODY_MAX_BYTES) return;
    this.#bytes += bytes.byteLength;
    this.#text += this.#decoder.decode(bytes, { stream: true });
  }

  /** `apiKey` is blacked out wherever the server repeats it; `nowMs` is wall-clock time. */
  failure(apiKey: string | null, nowMs: number): ModelFailure {
    const words = errorInBody(this.#text);
    const message = `the model server answered ${this.#status}: ${excerpt(words.message, apiKey)}`;
    const retryAfterMs = parseRetryAfterMs(this.#retryAfter, nowMs);
    return saidFailure(classOfStatus(this.#status, words), words, message, retryAfterMs);
  }

  /** The same of a request in OpenAI's shape: what the server says of it goes to whoever has sent it. */
  refusal(apiKey: string | null, nowMs: number): ModelFailure {
    const failure = this.failure(apiKey, nowMs);
    if (failure.class !== 'request') return failure;
    return { ...failure, refusal: { status: this.#status, body: refusalBody(this.#text, apiKey) } };
  }
}
