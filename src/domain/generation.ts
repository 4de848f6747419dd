// The work order of one call to a model server and its ending: plain data, because it crosses a thread boundary.

import type { ModelFailure } from './failure.ts';
import type { LineRequest } from './line.ts';
import type { Passage } from './passage.ts';
import type { ServerKind } from './server-kind.ts';

export interface GenerationTask {
  /** Unique among the running tasks: names the task when it is cancelled. */
  readonly id: number;
  /** Base URL of the model server, without a trailing slash and without /v1. */
  readonly endpointUrl: string;
  readonly serverKind: ServerKind;
  /** Names the request at the server. One for each call: SGLang hangs on an id that it has already. */
  readonly requestId: string;
  /** Tokens of prompt and answer together that the server allows the model; null: it does not say. */
  readonly contextTokens: number | null;
  readonly apiKey: string | null;
  readonly model: string;
  readonly request: LineRequest;
  readonly systemPrompt: string;
  readonly maxTokens: number;
  readonly temperature: number;
  /** Empty, and no digest: the original question goes alone. */
  readonly passages: readonly Passage[];
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
}

/** A whole answer, as a model server gives it. */
export interface ModelAnswer {
  readonly kind: 'success';
  readonly answer: string;
  readonly model: string;
  readonly finishReason: string;
  readonly usage: TokenUsage;
}

export interface GenerationSuccess extends ModelAnswer {
  /** The server seems to have cut the prompt to its context, and answered from what was left of it. */
  readonly isContextTruncated: boolean;
  /** SHA-256 of the request body, as hex. */
  readonly promptHash?: string;
}

export type GenerationOutcome = GenerationSuccess | ModelFailure;
