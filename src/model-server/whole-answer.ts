// An answer that is only of use as a whole, as text; or what became of it instead.

import type { ModelFailure } from '../domain/failure.ts';
import { ErrorResponse } from './error-response.ts';
import { cancelledFailure, modelFailure } from './failures.ts';
import type { ExchangeEnd, ResponseHeaders } from './http-exchange.ts';
import { transportFailure } from './transport-failures.ts';

export class WholeAnswer {
  readonly #apiKey: string | null;
  readonly #decoder = new TextDecoder();
  #refusal: ErrorResponse | null = null;
  #hasHead = false;
  #text = '';

  /** `apiKey`: never repeated in a message. */
  constructor(apiKey: string | null) {
    this.#apiKey = apiKey;
  }

  get text(): string {
    return this.#text;
  }

  head(status: number, headers: ResponseHeaders): void {
    this.#hasHead = true;
    if (status < 200 || status > 299) this.#refusal = new ErrorResponse(status, headers);
  }

  body(bytes: Uint8Array): void {
    if (this.#refusal !== null) this.#refusal.body(bytes);
    else this.#text += this.#decoder.decode(bytes, { stream: true });
  }

  /** How the server has refused a request in OpenAI's shape, with what it said; null: it has not. `nowMs` as below. */
  refusal(nowMs: number): ModelFailure | null {
    return this.#refusal?.refusal(this.#apiKey, nowMs) ?? null;
  }

  /**
   * What went wrong; null: the server has answered, in more or fewer bytes than wanted. `nowMs` is wall-clock time, for a
   * Retry-After that names a date; `late` says what a deadline means here.
   */
  failure(end: ExchangeEnd, nowMs: number, late: string): ModelFailure | null {
    if (end.kind === 'stopped' && end.reason === 'cancelled') return cancelledFailure();
    if (this.#refusal !== null) return this.#refusal.failure(this.#apiKey, nowMs);
    if (end.kind === 'broken') return transportFailure(end.error, this.#hasHead);
    return end.kind === 'stopped' ? modelFailure('ambiguous', late, { code: 'generation_timeout' }) : null;
  }
}
