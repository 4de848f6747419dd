// The one way to call Chroma: a deadline on every call, and every ending as a value.
//
// The chromadb client has no deadlines, and a signal in its fetch options works once per client: after it fired, every
// later call fails. So each call gets a client of its own, which costs no request and no connection (the sockets belong
// to fetch), and whose signal ends exactly that call.

import {
  ChromaClient,
  ChromaClientError,
  ChromaConnectionError,
  ChromaForbiddenError,
  ChromaNotFoundError,
  ChromaQuotaExceededError,
  ChromaRateLimitError,
  ChromaServerError,
  ChromaUnauthorizedError,
  ChromaUniqueError,
  ChromaValueError,
} from 'chromadb';
import { RagmillError } from '../errors.ts';

export interface ChromaOptions {
  /** `http(s)://host[:port]`, without a path. */
  readonly url: string;
  readonly apiKey?: string;
  readonly tenant?: string;
  readonly database?: string;
}

/**
 * - not_found: no such collection under this id or name, also in the midst of being deleted or re-created.
 * - not_owned: there is one under the name, but it does not carry our owner mark.
 * - unreachable: refused, reset, no such host.
 * - timeout: our own deadline.
 * - server: 5xx, 429, or a body that makes no sense. Another try may work.
 * - rejected: Chroma understood and refused. Another try will not work.
 * - cancelled: the caller's signal.
 */
export type ChromaFailureClass =
  | 'not_found'
  | 'not_owned'
  | 'unreachable'
  | 'timeout'
  | 'server'
  | 'rejected'
  | 'cancelled';

export interface ChromaFailure {
  readonly kind: 'failure';
  readonly class: ChromaFailureClass;
  readonly message: string;
}

export type ChromaResult<T> = { readonly kind: 'ok'; readonly value: T } | ChromaFailure;

export interface CallLimits {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Chroma's other answers while a collection is being deleted or re-created, besides 404. */
const resetRaceMessages = [
  'Missing metadata segment',
  'backfill request to compactor',
  'Nothing found on disk',
];

/** What the client throws for 5xx, 429, and for bodies that are cut, not JSON, or not what the API promises. */
const nonsense = [ChromaServerError, ChromaRateLimitError, SyntaxError, TypeError];

/** The client puts the whole address of the request before what Chroma says: that is nobody's business but ours. */
const addressInRefusal = /^Bad request to \S+ with status: /;

const refusals = [
  ChromaClientError,
  ChromaValueError,
  ChromaUniqueError,
  ChromaUnauthorizedError,
  ChromaForbiddenError,
  ChromaQuotaExceededError,
];

export class ChromaConnection {
  readonly url: string;
  readonly #options: ChromaOptions;
  readonly #address: { readonly host: string; readonly port: number; readonly ssl: boolean };

  /** Makes no request. Throws `config_invalid` when the URL is not `http(s)://host[:port]`. */
  constructor(options: ChromaOptions) {
    this.url = options.url;
    this.#options = options;
    this.#address = parseAddress(options.url);
  }

  /** Runs one operation of the client, which makes at most a few requests, under one deadline. Every ending that Chroma has a part in is a value. */
  async call<T>(
    operation: (client: ChromaClient) => Promise<T>,
    limits: CallLimits,
  ): Promise<ChromaResult<T>> {
    if (limits.signal?.aborted) return failure('cancelled', 'The call was cancelled');
    const ending = new AbortController();
    let endedBy: 'timeout' | 'cancelled' | null = null;
    const end = (reason: 'timeout' | 'cancelled') => {
      endedBy ??= reason;
      ending.abort();
    };
    const cancel = () => end('cancelled');
    const timer = setTimeout(end, limits.timeoutMs, 'timeout');
    limits.signal?.addEventListener('abort', cancel, { once: true });
    try {
      return { kind: 'ok', value: await operation(this.#clientWith(ending.signal)) };
    } catch (error) {
      if (endedBy === 'timeout')
        return failure('timeout', `Chroma did not answer within ${limits.timeoutMs} ms`);
      if (endedBy === 'cancelled') return failure('cancelled', 'The call was cancelled');
      return this.#classify(error);
    } finally {
      clearTimeout(timer);
      limits.signal?.removeEventListener('abort', cancel);
    }
  }

  #clientWith(signal: AbortSignal): ChromaClient {
    const { apiKey, tenant, database } = this.#options;
    return new ChromaClient({
      ...this.#address,
      // Both given, or the client would ask the server who we are on every call.
      tenant: tenant ?? 'default_tenant',
      database: database ?? 'default_database',
      fetchOptions: { signal },
      ...(apiKey === undefined ? {} : { headers: { 'x-chroma-token': apiKey } }),
    });
  }

  /** Throws what does not come from Chroma or its client again. */
  #classify(error: unknown): ChromaFailure {
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof ChromaNotFoundError) return failure('not_found', message);
    if (resetRaceMessages.some((face) => message.includes(face))) return failure('not_found', message);
    if (error instanceof ChromaConnectionError)
      return failure('unreachable', `Chroma at ${this.url} cannot be reached`);
    if (refusals.some((refusal) => error instanceof refusal))
      return failure('rejected', message.replace(addressInRefusal, ''));
    if (nonsense.some((kind) => error instanceof kind)) return failure('server', message);
    throw error;
  }
}

/** A failure as a value. */
export function failure(failureClass: ChromaFailureClass, message: string): ChromaFailure {
  return { kind: 'failure', class: failureClass, message };
}

function parseAddress(url: string): { host: string; port: number; ssl: boolean } {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  const ssl = parsed?.protocol === 'https:';
  if (parsed === null || !(ssl || parsed.protocol === 'http:') || parsed.pathname !== '/') {
    throw new RagmillError(
      'config_invalid',
      `"${url}" is not an address of Chroma: it must be http(s)://host[:port].`,
    );
  }
  const defaultPort = ssl ? 443 : 80;
  return { host: parsed.hostname, port: parsed.port === '' ? defaultPort : Number(parsed.port), ssl };
}
