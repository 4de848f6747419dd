// The HTTP client of model servers. Everything that can be expected of a server ends as a value.
//
// 1. A server has connections of its own; one connection carries one request at a time, so that destroying it
//    cancels exactly one. How many there are is the callers' matter: they hold the windows.
// 2. Idle connections are dropped before uvicorn's five seconds, lest a request meets a closing one.
// 3. Deadlines are this client's own: undici's would end a slow answer whatever the caller has configured.

import { Agent } from 'undici';
import type { ModelFailure } from '../domain/failure.ts';
import type { OpenaiEndpoint } from '../domain/line.ts';
import type { ServerKind } from '../domain/server-kind.ts';
import type { Clock } from '../time.ts';
import { type ChatOutcome, ChatResponse } from './chat-response.ts';
import { type DeadlineLimits, Deadlines, DeadlineWatch } from './deadlines.ts';
import { type EmbeddingsOutcome, EmbeddingsResponse } from './embeddings-response.ts';
import { cancelledFailure } from './failures.ts';
import { type ExchangeEnd, HttpExchange } from './http-exchange.ts';
import { type ModelList, ModelListResponse } from './model-list.ts';
import { OpenaiResponse } from './openai-response.ts';
import { type PlainAnswer, PlainResponse } from './plain-answer.ts';
import { requestIdFields, requestIdFieldsBeside, takingBack } from './taking-back.ts';

const KEEP_ALIVE_MS = 4_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** The largest response that is read; a model's answer is smaller by orders of magnitude. */
const RESPONSE_MAX_BYTES = 16 * 1024 * 1024;
/** Hundreds of vectors of thousands of numbers, each of them some twenty characters. */
const EMBEDDINGS_MAX_BYTES = 64 * 1024 * 1024;
/** What taking a request back may take. The answer says nothing. */
const TAKING_BACK_TIMEOUT_MS = 2_000;
const TAKING_BACK_MAX_BYTES = 64 * 1024;

/** Addresses that are kept in their parts; a pool has a few for each of its servers. */
const ADDRESSES_MAX = 1_024;

/** What a call needs of an AbortSignal. */
export interface CancelSignal {
  readonly aborted: boolean;
  addEventListener(name: 'abort', listener: () => void, options?: { readonly once: true }): void;
  removeEventListener(name: 'abort', listener: () => void): void;
}

/** A chat completion to ask for. */
export interface ChatCall extends DeadlineLimits {
  /** Base URL of the model server, without a trailing slash and without /v1. */
  readonly endpointUrl: string;
  readonly apiKey: string | null;
  readonly serverKind: ServerKind;
  /** Never used for another call. */
  readonly requestId: string;
  /** The request as the server shall see it, but for what concerns streaming and the request's id. */
  readonly body: { readonly model: string; readonly [key: string]: unknown };
  /** JSON.stringify(body), where the caller has made it anyway. */
  readonly bodyJson?: string;
}

/** A request in OpenAI's shape to hand on as it is, but for its id. Its answer is no stream. */
export interface ForwardedCall
  extends Omit<ChatCall, 'body' | 'bodyJson' | 'firstTokenTimeoutMs' | 'stallTimeoutMs'> {
  readonly url: OpenaiEndpoint;
  readonly body: Readonly<Record<string, unknown>>;
  /** The body as it is sent. */
  readonly bodyJson: string;
  /** The model's name where the server gives none. */
  readonly model: string;
}

export interface ModelListCall {
  /** Base URL of the model server, without a trailing slash and without /v1. */
  readonly endpointUrl: string;
  readonly apiKey: string | null;
  readonly timeoutMs: number;
}

/** A question about the server itself. */
export interface PlainCall extends ModelListCall {
  /** With its query, if any. */
  readonly path: string;
  readonly maxBytes: number;
}

/** Texts to embed in one request. */
export interface EmbeddingsCall {
  /** The route itself: see embeddingsAddress. */
  readonly url: string;
  readonly apiKey: string | null;
  readonly model: string;
  readonly texts: readonly string[];
  /** What to ask for; what comes is read either way. */
  readonly encoding: 'base64' | 'float';
  readonly timeoutMs: number;
}

interface HttpRequest {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly apiKey: string | null;
  /** JSON; null: none. */
  readonly body: string | null;
}

interface Address {
  readonly origin: string;
  /** With its query. */
  readonly path: string;
}

export class ModelServerClient {
  /** The time that its deadlines go by. */
  readonly clock: Clock;
  readonly #deadlines: Deadlines;
  readonly #addresses = new Map<string, Address>();
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
    this.clock = clock;
    this.#deadlines = new Deadlines(clock);
  }

  /**
   * Asks for one answer, as a stream. Aborting the signal destroys the connection. `onBegun` is called once, when the answer
   * begins to come.
   */
  async chatCompletion(call: ChatCall, signal?: CancelSignal, onBegun?: () => void): Promise<ChatOutcome> {
    if (signal?.aborted) return cancelledFailure();
    const watch = new DeadlineWatch(call, this.clock);
    const response = new ChatResponse({
      onProgress: () => {
        if (!watch.hasFirstToken) onBegun?.();
        watch.progress();
      },
      apiKey: call.apiKey,
      model: call.body.model,
    });
    const { endpointUrl, apiKey, serverKind, requestId } = call;
    const body = jsonWith(call, {
      ...requestIdFields(serverKind, requestId),
      stream: true,
      stream_options: { include_usage: true },
    });
    const request = { method: 'POST', url: `${endpointUrl}/v1/chat/completions`, apiKey, body } as const;
    const exchange = new HttpExchange(response, RESPONSE_MAX_BYTES);
    const end = await this.#run(exchange, request, watch, signal);
    const isEndedEarly = end.kind === 'stopped' || end.kind === 'too_large';
    if (isEndedEarly && exchange.hasStarted) void this.#takeBack(call);
    return response.conclude(end, this.clock.now());
  }

  /**
   * Hands a request on and answers with the whole response. Aborting the signal destroys the connection. Only its whole time
   * is watched: without a stream nobody sees when the first token comes, or that no more are coming.
   */
  async forward(call: ForwardedCall, signal?: CancelSignal): Promise<ChatOutcome> {
    if (signal?.aborted) return cancelledFailure();
    const { endpointUrl, apiKey, serverKind, requestId, url, model } = call;
    const response = new OpenaiResponse({ url, apiKey, model });
    const idFields = requestIdFieldsBeside(serverKind, requestId, call.body);
    const body = jsonWith(call, idFields);
    const request = { method: 'POST', url: `${endpointUrl}${url}`, apiKey, body } as const;
    const exchange = new HttpExchange(response, RESPONSE_MAX_BYTES);
    const end = await this.#run(exchange, request, this.#watch(call.totalTimeoutMs), signal);
    const isEndedEarly = end.kind === 'stopped' || end.kind === 'too_large';
    const hasId = Object.keys(idFields).length > 0;
    if (isEndedEarly && exchange.hasStarted && hasId) void this.#takeBack(call);
    return response.conclude(end, this.clock.now());
  }

  /** Asks which models the server serves. */
  async listModels(call: ModelListCall, signal?: AbortSignal): Promise<ModelList | ModelFailure> {
    if (signal?.aborted) return cancelledFailure();
    const { endpointUrl, apiKey, timeoutMs } = call;
    const response = new ModelListResponse(apiKey);
    const request = { method: 'GET', url: `${endpointUrl}/v1/models`, apiKey, body: null } as const;
    const exchange = new HttpExchange(response, RESPONSE_MAX_BYTES);
    const end = await this.#run(exchange, request, this.#watch(timeoutMs), signal);
    return response.conclude(end, this.clock.now());
  }

  /** Asks for the vectors of some texts. Aborting the signal destroys the connection. */
  async embeddings(call: EmbeddingsCall, signal?: AbortSignal): Promise<EmbeddingsOutcome> {
    if (signal?.aborted) return cancelledFailure();
    const { url, apiKey, model, texts, encoding, timeoutMs } = call;
    const response = new EmbeddingsResponse(texts.length, apiKey);
    const body = JSON.stringify({ model, input: texts, encoding_format: encoding });
    const exchange = new HttpExchange(response, EMBEDDINGS_MAX_BYTES);
    const end = await this.#run(
      exchange,
      { method: 'POST', url, apiKey, body },
      this.#watch(timeoutMs),
      signal,
    );
    return response.conclude(end, this.clock.now());
  }

  /** The whole answer, whatever its status; null: there was none, or it was cut, too late or too large. */
  async ask(call: PlainCall, signal?: AbortSignal): Promise<PlainAnswer | null> {
    if (signal?.aborted) return null;
    const { endpointUrl, apiKey, path, timeoutMs, maxBytes } = call;
    const response = new PlainResponse();
    const request = { method: 'GET', url: `${endpointUrl}${path}`, apiKey, body: null } as const;
    const exchange = new HttpExchange(response, maxBytes);
    return response.conclude(await this.#run(exchange, request, this.#watch(timeoutMs), signal));
  }

  /** Ends what is running as cancelled and closes every connection. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** Nobody waits for it, and nothing follows when it fails: the connection is closed anyway. */
  async #takeBack({
    endpointUrl,
    apiKey,
    serverKind,
    requestId,
  }: Pick<ChatCall, 'endpointUrl' | 'apiKey' | 'serverKind' | 'requestId'>): Promise<void> {
    const message = takingBack(serverKind, requestId);
    if (message === null) return;
    const request = {
      method: 'POST',
      url: `${endpointUrl}${message.path}`,
      apiKey,
      body: JSON.stringify(message.body),
    } as const;
    const exchange = new HttpExchange(new PlainResponse(), TAKING_BACK_MAX_BYTES);
    await this.#run(exchange, request, this.#watch(TAKING_BACK_TIMEOUT_MS), undefined);
  }

  /** A watch over the whole time only. */
  #watch(timeoutMs: number): DeadlineWatch {
    const limits = { totalTimeoutMs: timeoutMs, firstTokenTimeoutMs: timeoutMs, stallTimeoutMs: timeoutMs };
    return new DeadlineWatch(limits, this.clock);
  }

  async #run(
    exchange: HttpExchange,
    request: HttpRequest,
    watch: DeadlineWatch,
    signal: CancelSignal | undefined,
  ): Promise<ExchangeEnd> {
    const cancel = () => exchange.stop('cancelled');
    signal?.addEventListener('abort', cancel, { once: true });
    const unwatch = this.#deadlines.watch(watch, (passed) => exchange.stop(passed));
    this.#dispatch(request, exchange);
    const end = await exchange.ended;
    signal?.removeEventListener('abort', cancel);
    unwatch();
    return end;
  }

  #dispatch({ method, url, apiKey, body }: HttpRequest, exchange: HttpExchange): void {
    try {
      const { origin, path } = this.#addressOf(url);
      const headers: Record<string, string> = { accept: 'text/event-stream, application/json' };
      if (apiKey !== null) headers.authorization = `Bearer ${apiKey}`;
      if (body !== null) headers['content-type'] = 'application/json';
      this.#agent.dispatch({ origin, path, method, headers, body }, exchange);
    } catch (error) {
      // An address that is none.
      exchange.onResponseError(null, error instanceof Error ? error : new Error(String(error)));
    }
  }

  #addressOf(url: string): Address {
    const known = this.#addresses.get(url);
    if (known !== undefined) return known;
    const { origin, pathname, search } = new URL(url);
    const address = { origin, path: `${pathname}${search}` };
    if (this.#addresses.size >= ADDRESSES_MAX) this.#addresses.clear();
    this.#addresses.set(url, address);
    return address;
  }
}

/** The body of a call with these fields in it, as JSON. */
function jsonWith(
  { body, bodyJson }: Pick<ForwardedCall, 'body'> & { readonly bodyJson?: string },
  fields: Readonly<Record<string, unknown>>,
): string {
  if (bodyJson !== undefined && Object.keys(fields).length === 0) return bodyJson;
  const isNew = bodyJson !== undefined && !Object.keys(fields).some((name) => Object.hasOwn(body, name));
  if (!isNew) return JSON.stringify({ ...body, ...fields });
  return `${bodyJson.slice(0, -1)},${JSON.stringify(fields).slice(1)}`;
}
