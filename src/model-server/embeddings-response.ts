// What came back for a list of texts to embed, and what it means: vectors, or a failure of one of the classes.

import type { ModelFailure } from '../domain/failure.ts';
import { type EmbeddingList, parseEmbeddings } from './embedding-list.ts';
import { ErrorResponse } from './error-response.ts';
import { cancelledFailure, classOfErrorPayload, invalidAnswer, modelFailure } from './failures.ts';
import type { ExchangeEnd, ResponseHeaders, ResponseReader } from './http-exchange.ts';
import { errorInPayload, excerpt, parseJson } from './server-words.ts';
import { transportFailure } from './transport-failures.ts';

export type EmbeddingsOutcome = ({ readonly kind: 'embeddings' } & EmbeddingList) | ModelFailure;

export class EmbeddingsResponse implements ResponseReader {
  readonly #count: number;
  readonly #apiKey: string | null;
  readonly #pieces: Uint8Array[] = [];
  #refusal: ErrorResponse | null = null;
  #hasHead = false;

  /** `count`: how many texts were sent; `apiKey`: never repeated in a message. */
  constructor(count: number, apiKey: string | null) {
    this.#count = count;
    this.#apiKey = apiKey;
  }

  head(status: number, headers: ResponseHeaders): void {
    this.#hasHead = true;
    if (status < 200 || status > 299) this.#refusal = new ErrorResponse(status, headers);
  }

  body(bytes: Uint8Array): void {
    if (this.#refusal !== null) this.#refusal.body(bytes);
    else this.#pieces.push(bytes);
  }

  /** How the call ended. `nowMs` is wall-clock time, for a Retry-After that names a date. */
  conclude(end: ExchangeEnd, nowMs: number): EmbeddingsOutcome {
    if (end.kind === 'stopped' && end.reason === 'cancelled') return cancelledFailure();
    if (this.#refusal !== null) return this.#refusal.failure(this.#apiKey, nowMs);
    if (end.kind === 'broken') return transportFailure(end.error, this.#hasHead);
    if (end.kind === 'too_large') return invalidAnswer('the answer is over the size limit');
    if (end.kind === 'stopped') {
      return modelFailure('ambiguous', 'the embeddings took longer than they may', {
        code: 'generation_timeout',
      });
    }
    return this.#concludeAnswer(Buffer.concat(this.#pieces).toString());
  }

  #concludeAnswer(text: string): EmbeddingsOutcome {
    const list = parseEmbeddings(text, this.#count);
    if (typeof list !== 'string') return { kind: 'embeddings', ...list };
    const error = errorInPayload(parseJson(text));
    if (error !== null) {
      const words = excerpt(error.message, this.#apiKey);
      return modelFailure(classOfErrorPayload(error), `the model server answered with an error: ${words}`);
    }
    return invalidAnswer(`the answer cannot be used, ${list}: ${excerpt(text, this.#apiKey)}`);
  }
}
