// How a call to a model server fails, and what each class means for the line and for the endpoint.

/**
 * - hard: refused, reset, engine dead. The endpoint is down; the line goes elsewhere unharmed.
 * - overload: 429, 503, 408, finish_reason "abort". The endpoint is healthy but full.
 * - misconfigured: 401, 403, 405, 501, model not found. The endpoint cannot serve anybody.
 * - request: any other 4xx. The line itself is refused; the endpoint is healthy.
 * - ambiguous: 500, stall, cut or nonsense body. Retry elsewhere, at the price of one attempt.
 * - cancelled: we ended the call ourselves.
 */
export type FailureClass = 'hard' | 'overload' | 'misconfigured' | 'request' | 'ambiguous' | 'cancelled';

export interface ModelFailure {
  readonly kind: 'failure';
  readonly class: FailureClass;
  /** Stable, from the error catalogue: e.g. generation_timeout, generation_refused. */
  readonly code: string;
  readonly message: string;
  /** What the server asked for in Retry-After, in milliseconds. */
  readonly retryAfterMs: number | null;
  /** Nobody listens there at all: no connection came about. */
  readonly isRefused?: true;
  /** The connection broke in the middle of the answer: so ends a server that dies, but not only that. */
  readonly isBroken?: true;
  /** In the place of an answer to a question the model has called a tool. */
  readonly isToolCall?: true;
  /** How a server refused a request in OpenAI's shape: what it answered, in one line of JSON. */
  readonly refusal?: { readonly status: number; readonly body: string };
  /** The prompt is longer than the server allows. */
  readonly tooLong?: LengthRefusal;
}

/** What a server says when it refuses a prompt for its length; null: not said. */
export interface LengthRefusal {
  /** Tokens of prompt and answer together that it allows. */
  readonly contextTokens: number | null;
  /** Tokens that the prompt has. */
  readonly promptTokens: number | null;
}
