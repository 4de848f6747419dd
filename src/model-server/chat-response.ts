// What came back for a chat completion, and what it means: an answer, or a failure of one of the classes.

import type { ModelFailure } from '../domain/failure.ts';
import type { ModelAnswer } from '../domain/generation.ts';
import { AnswerReader } from './answer-reader.ts';
import type { DeadlineName } from './deadlines.ts';
import { ErrorResponse } from './error-response.ts';
import {
  cancelledFailure,
  classOfErrorPayload,
  givenUpFailure,
  invalidAnswer,
  modelFailure,
  saidFailure,
} from './failures.ts';
import type { ExchangeEnd, ResponseHeaders, ResponseReader } from './http-exchange.ts';
import { stripReasoning } from './reasoning.ts';
import { excerpt } from './server-words.ts';
import { transportFailure } from './transport-failures.ts';

export type ChatOutcome = ModelAnswer | ModelFailure;

interface ChatResponseOptions {
  /** Called when the server has sent a piece of the answer. */
  readonly onProgress: () => void;
  /** Never repeated in a message. */
  readonly apiKey: string | null;
  /** The model's name where the server gives none. */
  readonly model: string;
}

export class ChatResponse implements ResponseReader {
  readonly #options: ChatResponseOptions;
  readonly #answer = new AnswerReader();
  #refusal: ErrorResponse | null = null;
  #hasHead = false;

  constructor(options: ChatResponseOptions) {
    this.#options = options;
  }

  head(status: number, headers: ResponseHeaders): void {
    this.#hasHead = true;
    if (status < 200 || status > 299) this.#refusal = new ErrorResponse(status, headers);
  }

  body(bytes: Uint8Array): void {
    if (this.#refusal !== null) this.#refusal.body(bytes);
    else if (this.#answer.push(bytes)) this.#options.onProgress();
  }

  /** How the call ended. `nowMs` is wall-clock time, for a Retry-After that names a date. */
  conclude(end: ExchangeEnd, nowMs: number): ChatOutcome {
    if (end.kind === 'stopped' && end.reason === 'cancelled') return cancelledFailure();
    if (this.#refusal !== null) return this.#refusal.failure(this.#options.apiKey, nowMs);
    // What was cut off in the middle is not worth parsing: megabytes of brackets take seconds.
    if (end.kind === 'too_large' && !this.#answer.isComplete) {
      return invalidAnswer('the answer is over the size limit');
    }
    this.#answer.end();
    const { error } = this.#answer.completion;
    if (error !== null) {
      const message = `the model server answered with an error: ${excerpt(error.message, this.#options.apiKey)}`;
      return saidFailure(classOfErrorPayload(error), error, message);
    }
    if (this.#answer.isComplete) return this.#concludeAnswer();
    if (end.kind === 'stopped' && end.reason !== 'cancelled') return DEADLINE_FAILURES[end.reason];
    if (end.kind === 'broken') return transportFailure(end.error, this.#hasHead);
    if (this.#answer.isBrokenOff) return invalidAnswer('the server broke the answer off (no finish_reason)');
    const head = excerpt(this.#answer.head, this.#options.apiKey);
    return invalidAnswer(`the answer is no whole chat completion: ${head === '' ? 'it is empty' : head}`);
  }

  #concludeAnswer(): ChatOutcome {
    const { content, finishReason, model, usage, hasToolCall } = this.#answer.completion;
    const givenUp = givenUpFailure(finishReason);
    if (givenUp !== null) return givenUp;
    const answer = stripReasoning(content);
    if (answer.trim() === '') return hasToolCall ? TOOL_CALL : emptyAnswer(finishReason);
    return {
      kind: 'success',
      answer,
      model: model ?? this.#options.model,
      finishReason: finishReason ?? 'unknown',
      usage,
      response: null,
    };
  }
}

function emptyAnswer(finishReason: string | null): ModelFailure {
  const why = finishReason === 'length' ? ': max_tokens was used up before the answer began' : '';
  return modelFailure('ambiguous', `the model answered nothing${why}`, { code: 'empty_answer' });
}

const TOOL_CALL = modelFailure(
  'ambiguous',
  'the model called a tool instead of answering the question; only a line in the shape of OpenAI may be answered so',
  { code: 'empty_answer', isToolCall: true },
);

const DEADLINE_FAILURES = {
  total: modelFailure('ambiguous', 'the answer took longer than it may', { code: 'generation_timeout' }),
  first_token: modelFailure('ambiguous', 'the answer did not begin in time', { code: 'generation_timeout' }),
  stall: modelFailure('ambiguous', 'the answer stopped arriving', { code: 'generation_stalled' }),
} as const satisfies Record<DeadlineName, ModelFailure>;
