// The answer to GET /v1/models: which models a server serves, in its own order, and what it says of each.

import type { ModelFailure } from '../domain/failure.ts';
import { invalidAnswer } from './failures.ts';
import type { ExchangeEnd, ResponseHeaders, ResponseReader } from './http-exchange.ts';
import { reportedContext } from './reported-numbers.ts';
import { excerpt, isRecord, parseJson } from './server-words.ts';
import { WholeAnswer } from './whole-answer.ts';

export interface ListedModel {
  readonly id: string;
  readonly ownedBy: string | null;
  /** null: the list does not say. */
  readonly contextTokens: number | null;
}

export interface ModelList {
  readonly kind: 'models';
  /** May be empty: a server that has nothing installed says so. */
  readonly models: readonly ListedModel[];
}

/** Of a list that is longer only so many are taken. */
const MODELS_MAX = 1_000;
const ID_MAX_CHARS = 512;

/**
 * What servers call the tokens that they allow a request: SGLang and vLLM; Together, Fireworks and OpenRouter; Groq.
 * Not what a model was trained for, which llama.cpp lists as well.
 */
const CONTEXT_FIELDS = ['max_model_len', 'context_length', 'context_window'] as const;

export class ModelListResponse implements ResponseReader {
  readonly #apiKey: string | null;
  readonly #answer: WholeAnswer;

  constructor(apiKey: string | null) {
    this.#apiKey = apiKey;
    this.#answer = new WholeAnswer(apiKey);
  }

  head(status: number, headers: ResponseHeaders): void {
    this.#answer.head(status, headers);
  }

  body(bytes: Uint8Array): void {
    this.#answer.body(bytes);
  }

  conclude(end: ExchangeEnd, nowMs: number): ModelList | ModelFailure {
    const late = 'the model server did not name its models in time';
    const failure = this.#answer.failure(end, nowMs, late);
    if (failure !== null) return failure;
    const { text } = this.#answer;
    const models = end.kind === 'ended' ? parseModels(text) : null;
    if (models !== null) return { kind: 'models', models };
    return invalidAnswer(`the model server did not name its models: ${excerpt(text, this.#apiKey)}`);
  }
}

function parseModels(text: string): ListedModel[] | null {
  const list = parseJson(text);
  if (!isRecord(list)) return null;
  // A server without models may send null for the empty list.
  if (list.data === null) return [];
  if (!Array.isArray(list.data)) return null;
  return list.data.slice(0, MODELS_MAX).flatMap((model) => parseModel(model) ?? []);
}

function parseModel(model: unknown): ListedModel | null {
  if (!isRecord(model)) return null;
  const { id, owned_by: ownedBy, meta } = model;
  if (typeof id !== 'string' || id === '' || id.length > ID_MAX_CHARS) return null;
  const reported = [...CONTEXT_FIELDS.map((field) => model[field]), isRecord(meta) ? meta.n_ctx : null];
  const contextTokens = reported.map(reportedContext).find((tokens) => tokens !== null) ?? null;
  return { id, ownedBy: typeof ownedBy === 'string' ? ownedBy : null, contextTokens };
}
