// From what went wrong at a model server to the class that says what follows for the line and for the endpoint.

import type { FailureClass, LengthRefusal, ModelFailure } from '../domain/failure.ts';
import type { ErrorCode } from '../errors.ts';
import { lengthRefusal, saysTooLong } from './length-refusals.ts';
import type { ServerWords } from './server-words.ts';

const OVERLOAD_STATUS: ReadonlySet<number> = new Set([408, 429, 503]);
const MISCONFIGURED_STATUS: ReadonlySet<number> = new Set([401, 403, 404, 405, 501]);
const BAD_GATEWAY = 502;
/** Text Embeddings Inference, when its own engine failed. */
const FAILED_DEPENDENCY = 424;
/** The server, or a proxy before it, took our hanging up for the end: nobody is to blame. */
const CLIENT_CLOSED = 499;

/** Error types and texts that servers use where the status does not tell. */
const NO_SUCH_MODEL = /^(?:the )?model\s[^\n]{0,300}?(?:does not exist|not found)/i;
const NO_SUCH_MODEL_TYPE = /model_not_found/;
const ENGINE_DEAD = /EngineDeadError|EngineCore encountered an issue|engine (?:process )?(?:is )?dead/i;
const REQUEST_TYPE = /invalid_request|BadRequest|context_length|exceed_context_size|ValidationError/i;
/** Ollama: the model does not fit this machine, or its file cannot be read. */
const CANNOT_LOAD =
  /requires more system memory|(?:unable|failed) to load (?:full )?model|error loading model|out-of-memory during startup/i;
const OVERLOAD_WORDS =
  /overloaded|rate_limit|server busy|queue is full|(?:queue|waiting|running)(?: request)? timeout|higher priority request|no slots? available|loading model|too many requests/i;

const CODE_OF_CLASS = {
  hard: 'generation_unreachable',
  overload: 'generation_overloaded',
  misconfigured: 'generation_misconfigured',
  request: 'generation_rejected',
  ambiguous: 'generation_failed',
  cancelled: 'cancelled',
} as const satisfies Record<FailureClass, ErrorCode>;

interface FailureDetails {
  /** Where the code that goes with the class is not the exact one. */
  readonly code?: ErrorCode;
  readonly retryAfterMs?: number | null;
  readonly isRefused?: boolean;
  readonly isToolCall?: boolean;
  readonly tooLong?: LengthRefusal;
}

export function modelFailure(
  failureClass: FailureClass,
  message: string,
  details: FailureDetails = {},
): ModelFailure {
  const code = details.code ?? CODE_OF_CLASS[failureClass];
  return {
    kind: 'failure',
    class: failureClass,
    code,
    message,
    retryAfterMs: details.retryAfterMs ?? null,
    ...(details.isRefused ? { isRefused: true } : {}),
    ...(details.isToolCall ? { isToolCall: true } : {}),
    ...(details.tooLong ? { tooLong: details.tooLong } : {}),
  };
}

/** What a server said instead of an answer, as the failure of that class. */
export function saidFailure(
  failureClass: FailureClass,
  words: ServerWords,
  message: string,
  retryAfterMs: number | null = null,
): ModelFailure {
  const tooLong = lengthRefusal(failureClass, words);
  return modelFailure(failureClass, message, { retryAfterMs, ...(tooLong === null ? {} : { tooLong }) });
}

export function cancelledFailure(): ModelFailure {
  return modelFailure('cancelled', 'the call was cancelled');
}

/** What a server gives as the reason to end an answer that is none; null: any other. */
export function givenUpFailure(finishReason: string | null): ModelFailure | null {
  if (finishReason === 'abort') return modelFailure('overload', 'the model server aborted the request');
  if (finishReason === 'error') return modelFailure('ambiguous', 'the model server gave up the answer');
  return null;
}

/** A body that is cut, or that cannot be what was asked for. */
export function invalidAnswer(message: string): ModelFailure {
  return modelFailure('ambiguous', message, { code: 'generation_invalid' });
}

/** The class of an answer whose status is not 2xx. */
export function classOfStatus(status: number, words: ServerWords): FailureClass {
  if (saysNoSuchModel(words)) return 'misconfigured';
  if (status >= 500 && ENGINE_DEAD.test(`${words.type} ${words.message}`)) return 'hard';
  if (OVERLOAD_STATUS.has(status)) return 'overload';
  if (status < 400 || MISCONFIGURED_STATUS.has(status)) return 'misconfigured';
  if (status === CLIENT_CLOSED || status === FAILED_DEPENDENCY) return 'ambiguous';
  if (status < 500) return 'request';
  return status === BAD_GATEWAY ? 'hard' : classOfWords(words);
}

/** The class of an error that came in the body of an answer with status 200. */
export function classOfErrorPayload(words: ServerWords): FailureClass {
  return classOfStatus(words.status ?? 500, words);
}

/** For a status of 500, or none at all: servers also wrap refusals of every kind into it. */
function classOfWords(words: ServerWords): FailureClass {
  const { type, message } = words;
  if (CANNOT_LOAD.test(message)) return 'misconfigured';
  if (OVERLOAD_WORDS.test(type) || OVERLOAD_WORDS.test(message)) return 'overload';
  return REQUEST_TYPE.test(type) || saysTooLong(words) ? 'request' : 'ambiguous';
}

function saysNoSuchModel(words: ServerWords): boolean {
  return NO_SUCH_MODEL_TYPE.test(words.type) || NO_SUCH_MODEL.test(words.message);
}
