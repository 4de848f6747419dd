// What came back for a list of texts to embed, and what it means: vectors, or a failure of one of the classes.

import type { ModelFailure } from '../domain/failure.ts';
import { type EmbeddingList, parseEmbeddings } from './embedding-list.ts';
import { classOfErrorPayload, invalidAnswer, modelFailure } from './failures.ts';
import type { ExchangeEnd, ResponseHeaders, ResponseReader } from './http-exchange.ts';
import { errorInPayload, excerpt, parseJson } from './server-words.ts';
import { WholeAnswer } from './whole-answer.ts';

export type EmbeddingsOutcome = ({ readonly kind: 'embeddings' } & EmbeddingList) | ModelFailure;

export class EmbeddingsResponse implements ResponseReader {
  readonly #count: number;
  readonly #apiKey: string | null;
  readonly #answer: WholeAnswer;

  /** `count`: how many texts were sent; `apiKey`: never repeated in a message. */
  constructor(count: number, apiKey: string | null) {
    this.#count = count;
    this.#apiKey = apiKey;
    this.#answer = new WholeAnswer(apiKey);
  }

  head(status: number, headers: ResponseHeaders): void {
    this.#answer.head(status, headers);
  }

  body(bytes: Uint8Array): void {
    this.#answer.body(bytes);
  }

  /** How the call ended. `nowMs` is wall-clock time, for a Retry-After that names a date. */
  conclude(end: ExchangeEnd, nowMs: number): EmbeddingsOutcome {
    const failure = this.#answer.failure(end, nowMs, 'the embeddings took longer than they may');
    if (failure !== null) return failure;
    if (end.kind === 'too_large') return invalidAnswer('the answer is over the size limit');
    return this.#concludeAnswer(this.#answer.text);
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
