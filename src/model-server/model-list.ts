// The answer to GET /v1/models: which models a server serves, in its own order.

import type { ModelFailure } from '../domain/failure.ts';
import { ErrorResponse } from './error-response.ts';
import { cancelledFailure, invalidAnswer, modelFailure } from './failures.ts';
import type { ExchangeEnd, ResponseHeaders, ResponseReader } from './http-exchange.ts';
import { excerpt, isRecord, parseJson } from './server-words.ts';
import { transportFailure } from './transport-failures.ts';

export interface ModelList {
  readonly kind: 'models';
  /** May be empty: a server that has nothing installed says so. */
  readonly modelIds: readonly string[];
}

export class ModelListResponse implements ResponseReader {
  readonly #apiKey: string | null;
  readonly #decoder = new TextDecoder();
  #refusal: ErrorResponse | null = null;
  #hasHead = false;
  #text = '';

  constructor(apiKey: string | null) {
    this.#apiKey = apiKey;
  }

  head(status: number, headers: ResponseHeaders): void {
    this.#hasHead = true;
    if (status < 200 || status > 299) this.#refusal = new ErrorResponse(status, headers);
  }

  body(bytes: Uint8Array): void {
    if (this.#refusal !== null) this.#refusal.body(bytes);
    else this.#text += this.#decoder.decode(bytes, { stream: true });
  }

  conclude(end: ExchangeEnd, nowMs: number): ModelList | ModelFailure {
    if (end.kind === 'stopped' && end.reason === 'cancelled') return cancelledFailure();
    if (this.#refusal !== null) return this.#refusal.failure(this.#apiKey, nowMs);
    if (end.kind === 'broken') return transportFailure(end.error, this.#hasHead);
    if (end.kind === 'stopped') {
      return modelFailure('ambiguous', 'the model server did not name its models in time', {
        code: 'generation_timeout',
      });
    }
    const modelIds = end.kind === 'ended' ? parseModelIds(this.#text) : null;
    if (modelIds !== null) return { kind: 'models', modelIds };
    return invalidAnswer(`the model server did not name its models: ${excerpt(this.#text, this.#apiKey)}`);
  }
}

function parseModelIds(text: string): string[] | null {
  const list = parseJson(text);
  if (!isRecord(list)) return null;
  // A server without models may send null for the empty list.
  if (list.data === null) return [];
  if (!Array.isArray(list.data)) return null;
  const modelIds: string[] = [];
  for (const model of list.data) {
    if (isRecord(model) && typeof model.id === 'string' && model.id !== '') modelIds.push(model.id);
  }
  return modelIds;
}
