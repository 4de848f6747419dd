// What came back for a request in OpenAI's shape, which is read whole and kept as it came: an answer, or a failure of one of
// the classes. What counts as an answer, openai-answer.ts says.

import type { OpenaiEndpoint } from '../domain/line.ts';
import { type ChatOutcome, DEADLINE_FAILURES } from './chat-response.ts';
import { ErrorResponse } from './error-response.ts';
import { cancelledFailure, classOfErrorPayload, invalidAnswer, saidFailure } from './failures.ts';
import type { ExchangeEnd, ResponseHeaders, ResponseReader } from './http-exchange.ts';
import { isOpenaiAnswer, openaiAnswer } from './openai-answer.ts';
import { errorInPayload, excerpt, inOneLine, isRecord, parseJson, refusalBody } from './server-words.ts';
import { transportFailure } from './transport-failures.ts';

interface OpenaiResponseOptions {
  readonly url: OpenaiEndpoint;
  /** Never repeated in a message. */
  readonly apiKey: string | null;
  /** The model's name where the server gives none. */
  readonly model: string;
}

const BAD_REQUEST = 400;

export class OpenaiResponse implements ResponseReader {
  readonly #options: OpenaiResponseOptions;
  readonly #decoder = new TextDecoder();
  #refusal: ErrorResponse | null = null;
  #hasHead = false;
  #text = '';

  constructor(options: OpenaiResponseOptions) {
    this.#options = options;
  }

  head(status: number, headers: ResponseHeaders): void {
    this.#hasHead = true;
    if (status < 200 || status > 299) this.#refusal = new ErrorResponse(status, headers);
  }

  body(bytes: Uint8Array): void {
    if (this.#refusal !== null) this.#refusal.body(bytes);
    else this.#text += this.#decoder.decode(bytes, { stream: true });
  }

  /** How the call ended. `nowMs` is wall-clock time, for a Retry-After that names a date. */
  conclude(end: ExchangeEnd, nowMs: number): ChatOutcome {
    if (end.kind === 'stopped' && end.reason === 'cancelled') return cancelledFailure();
    if (this.#refusal !== null) return this.#refusal.refusal(this.#options.apiKey, nowMs);
    if (end.kind === 'too_large') return invalidAnswer('the answer is over the size limit');
    // A whole document is an answer, whatever happened to the connection afterwards.
    const payload = parseJson(this.#text);
    const outcome = isRecord(payload) ? this.#concludeAnswer(payload) : null;
    if (outcome !== null) return outcome;
    if (end.kind === 'stopped' && end.reason !== 'cancelled') return DEADLINE_FAILURES[end.reason];
    if (end.kind === 'broken') return transportFailure(end.error, this.#hasHead);
    const head = excerpt(this.#text, this.#options.apiKey);
    return invalidAnswer(
      `the answer is none to POST ${this.#options.url}: ${head === '' ? 'it is empty' : head}`,
    );
  }

  /** null: it is neither an answer nor an error. */
  #concludeAnswer(payload: Readonly<Record<string, unknown>>): ChatOutcome | null {
    const { url, apiKey, model } = this.#options;
    const error = errorInPayload(payload);
    if (error !== null) {
      const message = `the model server answered with an error: ${excerpt(error.message, apiKey)}`;
      const failure = saidFailure(classOfErrorPayload(error), error, message);
      if (failure.class !== 'request') return failure;
      const refusal = { status: error.status ?? BAD_REQUEST, body: refusalBody(this.#text, apiKey) };
      return { ...failure, refusal };
    }
    if (!isOpenaiAnswer(url, payload)) return null;
    const answer = openaiAnswer(url, payload, apiKey);
    if (answer.kind === 'failure') return answer;
    return { ...answer, model: answer.model ?? model, response: inOneLine(this.#text) };
  }
}
