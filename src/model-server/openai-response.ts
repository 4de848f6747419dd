// What came back for a request in OpenAI's shape, which is read whole and kept as it came: an answer, or a failure of one of
// the classes. What counts as an answer, openai-answer.ts says.

import type { OpenaiEndpoint } from '../domain/line.ts';
import type { ChatOutcome } from './chat-response.ts';
import { classOfErrorPayload, invalidAnswer, saidFailure } from './failures.ts';
import type { ExchangeEnd, ResponseHeaders, ResponseReader } from './http-exchange.ts';
import { isOpenaiAnswer, openaiAnswer } from './openai-answer.ts';
import { errorInPayload, excerpt, inOneLine, isRecord, parseJson, refusalBody } from './server-words.ts';
import { WholeAnswer } from './whole-answer.ts';

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
  readonly #answer: WholeAnswer;

  constructor(options: OpenaiResponseOptions) {
    this.#options = options;
    this.#answer = new WholeAnswer(options.apiKey);
  }

  head(status: number, headers: ResponseHeaders): void {
    this.#answer.head(status, headers);
  }

  body(bytes: Uint8Array): void {
    this.#answer.body(bytes);
  }

  /** How the call ended. `nowMs` is wall-clock time, for a Retry-After that names a date. */
  conclude(end: ExchangeEnd, nowMs: number): ChatOutcome {
    const failure = this.#answer.failure(end, nowMs, 'the answer took longer than it may');
    if (failure?.class === 'cancelled') return failure;
    const refusal = this.#answer.refusal(nowMs);
    if (refusal !== null) return refusal;
    if (end.kind === 'too_large') return invalidAnswer('the answer is over the size limit');
    // A whole document is an answer, whatever happened to the connection afterwards.
    const { text } = this.#answer;
    const payload = parseJson(text);
    const outcome = isRecord(payload) ? this.#concludeAnswer(payload, text) : null;
    if (outcome !== null) return outcome;
    if (failure !== null) return failure;
    const head = excerpt(text, this.#options.apiKey);
    return invalidAnswer(
      `the answer is none to POST ${this.#options.url}: ${head === '' ? 'it is empty' : head}`,
    );
  }

  /** null: it is neither an answer nor an error. */
  #concludeAnswer(payload: Readonly<Record<string, unknown>>, text: string): ChatOutcome | null {
    const { url, apiKey, model } = this.#options;
    const error = errorInPayload(payload);
    if (error !== null) {
      const message = `the model server answered with an error: ${excerpt(error.message, apiKey)}`;
      const failure = saidFailure(classOfErrorPayload(error), error, message);
      if (failure.class !== 'request') return failure;
      const refusal = { status: error.status ?? BAD_REQUEST, body: refusalBody(text, apiKey) };
      return { ...failure, refusal };
    }
    if (!isOpenaiAnswer(url, payload)) return null;
    const answer = openaiAnswer(url, payload, apiKey);
    if (answer.kind === 'failure') return answer;
    return { ...answer, model: answer.model ?? model, response: inOneLine(text) };
  }
}
