// The work order of one call to a model server and its ending: plain data, because it crosses a thread boundary.

import type { ModelFailure } from './failure.ts';
import type { LineRequest } from './line.ts';
import type { Citations, ContextCut, Passage } from './passage.ts';
import type { ServerKind } from './server-kind.ts';

export interface GenerationTask {
  /** Unique among the running tasks: names the task when it is cancelled. */
  readonly id: number;
  /** Base URL of the model server, without a trailing slash and without /v1. */
  readonly endpointUrl: string;
  readonly serverKind: ServerKind;
  /** Names the request at the server. One for each call: SGLang hangs on an id that it has already. */
  readonly requestId: string;
  /** Tokens of prompt and answer together that the server allows the model; null: not known. */
  readonly contextTokens: number | null;
  /** UTF-8 bytes of a prompt that make a token of the model, as far as is known. */
  readonly bytesPerToken: number;
  readonly apiKey: string | null;
  readonly model: string;
  readonly request: LineRequest;
  readonly systemPrompt: string;
  /** The user message of a native line, with its placeholders; null: the built-in form. */
  readonly template: string | null;
  readonly maxTokens: number;
  readonly temperature: number;
  /** What the answer may cite, and, without a digest, what stands in the prompt. Empty: the question goes alone. */
  readonly passages: readonly Passage[];
  /** For each place in the prompt the 0-based rank of the passage there; null: in the order of `passages`. */
  readonly passageOrder: readonly number[] | null;
  /** Stands in the place of the passages; null: there is none. */
  readonly digest: string | null;
  readonly totalTimeoutMs: number;
  readonly firstTokenTimeoutMs: number;
  readonly stallTimeoutMs: number;
}

export interface TokenUsage {
  readonly promptTokens: number | null;
  readonly completionTokens: number | null;
  readonly cachedTokens: number | null;
  /** Of the completion tokens. */
  readonly reasoningTokens: number | null;
}

/** A whole answer, as a model server gives it. */
export interface ModelAnswer {
  readonly kind: 'success';
  /** Empty where a request in OpenAI's shape is answered by something else than text: tool calls, vectors. */
  readonly answer: string;
  readonly model: string;
  /** `stop` where the server has none to give: vectors have no end. */
  readonly finishReason: string;
  readonly usage: TokenUsage;
  /** For a request in OpenAI's shape, the body of the response: JSON as it came, in one line; null for others. */
  readonly response: string | null;
}

/** What is known of the prompt of a generation, however that ended. */
export interface SentPrompt {
  /** SHA-256 of the request body, as hex. */
  readonly promptHash?: string;
  /** How the passages were cut to fit; absent: they all stood in the prompt as they are. */
  readonly contextCut?: ContextCut;
  /** UTF-8 bytes that made a token of this prompt, by what the server said; absent: it said nothing that can be used. */
  readonly bytesPerToken?: number;
  /** The server refused the prompt at its full length first. */
  readonly isShortened?: true;
}

export interface GenerationSuccess extends ModelAnswer, SentPrompt {
  /** The server seems to have cut the prompt to its context, and answered from what was left of it. */
  readonly isContextTruncated: boolean;
  readonly citations: Citations;
}

export type GenerationOutcome = GenerationSuccess | (ModelFailure & SentPrompt);
