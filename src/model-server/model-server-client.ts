// The HTTP client of model servers. Everything that can be expected of a server ends as a value.
//
// 1. A server has connections of its own; one connection carries one request at a time, so that destroying it
//    cancels exactly one. How many there are is the callers' matter: they hold the windows.
// 2. Idle connections are dropped before uvicorn's five seconds, lest a request meets a closing one.
// 3. Deadlines are this client's own: undici's would end a slow answer whatever the caller has configured.

import { Agent } from 'undici';
import type { ModelFailure } from '../domain/failure.ts';
import type { GenerationOutcome } from '../domain/generation.ts';
import type { Clock } from '../time.ts';
import { ChatResponse } from './chat-response.ts';
import { type DeadlineLimits, DeadlineWatch } from './deadlines.ts';
import { cancelledFailure } from './failures.ts';
import { type ExchangeEnd, HttpExchange, type ResponseReader } from './http-exchange.ts';
import { type ModelList, ModelListResponse } from './model-list.ts';

const KEEP_ALIVE_MS = 4_000;
const CONNECT_TIMEOUT_MS = 10_000;

/** A chat completion to ask for. */
export interface ChatCall extends DeadlineLimits {
  /** Base URL of the model server, without a trailing slash and without /v1. */
  readonly endpointUrl: string;
  readonly apiKey: string | null;
  /** The request as the server shall see it, but for what concerns streaming. */
  readonly body: { readonly model: string; readonly [key: string]: unknown };
}

export interface ModelListCall {
  /** Base URL of the model server, without a trailing slash and without /v1. */
  readonly endpointUrl: string;
  readonly apiKey: string | null;
  readonly timeoutMs: number;
}

interface HttpRequest {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly apiKey: string | null;
  readonly body: Readonly<Record<string, unknown>> | null;
}

export class ModelServerClient {
  readonly #clock: Clock;
  readonly #agent = new Agent({
    pipelining: 1,
    connections: null,
    allowH2: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    headersTimeout: 0,
    bodyTimeout: 0,
  });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asks for one answer, as a stream. Aborting the signal destroys the connection. */
  async chatCompletion(call: ChatCall, signal?: AbortSignal): Promise<GenerationOutcome> {
    if (signal?.aborted) return cancelledFailure();
    const watch = new DeadlineWatch(call, this.#clock);
    const response = new ChatResponse({
      onProgress: () => watch.progress(),
      apiKey: call.apiKey,
      model: call.body.model,
    });
    const { endpointUrl, apiKey } = call;
    const body = { ...call.body, stream: true, stream_options: { include_usage: true } };
    const request = { method: 'POST', url: `${endpointUrl}/v1/chat/completions`, apiKey, body } as const;
    const end = await this.#exchange(request, response, watch, signal);
    return response.conclude(end, this.#clock.now());
  }

  /** Asks which models the server serves. */
  async listModels(call: ModelListCall, signal?: AbortSignal): Promise<ModelList | ModelFailure> {
    if (signal?.aborted) return cancelledFailure();
    const { endpointUrl, apiKey, timeoutMs } = call;
    const limits = { totalTimeoutMs: timeoutMs, firstTokenTimeoutMs: timeoutMs, stallTimeoutMs: timeoutMs };
    const response = new ModelListResponse(apiKey);
    const request = { method: 'GET', url: `${endpointUrl}/v1/models`, apiKey, body: null } as const;
    const end = await this.#exchange(request, response, new DeadlineWatch(limits, this.#clock), signal);
    return response.conclude(end, this.#clock.now());
  }

  /** Ends what is running as cancelled and closes every connection. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #exchange(
    request: HttpRequest,
    reader: ResponseReader,
    watch: DeadlineWatch,
    signal: AbortSignal | undefined,
  ): Promise<ExchangeEnd> {
    const exchange = new HttpExchange(reader);
    const cancel = () => exchange.stop('cancelled');
    signal?.addEventListener('abort', cancel, { once: true });
    this.#dispatch(request, exchange);
    const watching = watch.passed().then((deadline) => {
      if (deadline !== null) exchange.stop(deadline);
    });
    const end = await exchange.ended;
    signal?.removeEventListener('abort', cancel);
    watch.stop();
    await watching;
    return end;
  }

  #dispatch({ method, url, apiKey, body }: HttpRequest, exchange: HttpExchange): void {
    try {
      const { origin, pathname: path } = new URL(url);
      const headers: Record<string, string> = { accept: 'text/event-stream, application/json' };
      if (apiKey !== null) headers.authorization = `Bearer ${apiKey}`;
      if (body !== null) headers['content-type'] = 'application/json';
      const text = body === null ? null : JSON.stringify(body);
      this.#agent.dispatch({ origin, path, method, headers, body: text }, exchange);
    } catch (error) {
      // An address that is none.
      exchange.onResponseError(null, error instanceof Error ? error : new Error(String(error)));
    }
  }
}
