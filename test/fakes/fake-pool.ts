// The service before a pool of model servers, for tests of what it does when they fail: starting it, and telling apart
// what it sent them. Lines run without retrieval, so that a server sees the bare question.

import type { Test } from 'tap';
import type { FakeModelServer, FakeRequest } from './fake-model-server.ts';
import { startFakeModelServer } from './fake-model-server.ts';
import { type ResultLine, RunningService, startService } from './running-service.ts';
import { until } from './until.ts';

/** Requests that each endpoint may have in flight. */
export const WINDOW = 4;
/** Ambiguous failures in a row after which no more lines are sent. */
export const FAILURES_MAX = 5;

export interface EndpointAnswer {
  readonly name: string;
  readonly state: string;
  readonly reason: string | null;
  readonly breaker: 'closed' | 'open' | 'half_open';
  readonly window: number;
  readonly in_flight: number;
  readonly requests: Readonly<Record<string, number>>;
}

/** Model servers of these names, which close with the test. */
export async function startServers<Name extends string>(
  t: Pick<Test, 'teardown'>,
  names: readonly Name[],
): Promise<Record<Name, FakeModelServer>> {
  const servers = await Promise.all(names.map(async (name) => [name, await startFakeModelServer()] as const));
  t.teardown(() => Promise.all(servers.map(([, server]) => server.close())));
  return Object.fromEntries(servers) as Record<Name, FakeModelServer>;
}

/** A service with these endpoints, ready, its deadlines those of a test rather than of a model. */
export async function startPool(
  t: Test,
  endpoints: Readonly<Record<string, { readonly url: string }>>,
  settings: Readonly<Record<string, string>> & { readonly CHROMA_URL: string },
): Promise<PoolService> {
  const list = Object.entries(endpoints).map(([name, { url }]) => `${name}=${url}`);
  const service = await startService(t, {
    GPU_ENDPOINTS: list.join(','),
    GPU_CONCURRENCY: String(WINDOW),
    FIRST_TOKEN_TIMEOUT_MS: '400',
    GENERATION_STALL_MS: '400',
    GENERATION_TIMEOUT_MS: '2000',
    ...settings,
  });
  return new PoolService(service.app);
}

export class PoolService extends RunningService {
  /** Runs these questions to their end. */
  async run(questions: readonly string[]): Promise<ResultLine[]> {
    return this.allResults(await this.begin(questions));
  }

  /** Uploads them; answers the batch's id. */
  async begin(questions: readonly string[]): Promise<string> {
    const lines = questions.map((query, index) => JSON.stringify({ custom_id: `q${index + 1}`, query }));
    return (await this.upload(lines.join('\n'), '?rag_mode=off&max_failures=0')).id;
  }

  async endpoint(name: string): Promise<EndpointAnswer> {
    const { data } = await this.get<{ data: EndpointAnswer[] }>('/endpoints');
    const found = data.find((endpoint) => endpoint.name === name);
    if (!found) throw new Error(`no endpoint ${name}`);
    return found;
  }

  becomes(name: string, state: string): Promise<void> {
    return until(`${name} to be ${state}`, async () => (await this.endpoint(name)).state === state);
  }

  /** How many requests to it have ended like this. */
  ended(name: string, requestClass: string): Promise<number> {
    return this.metric(`ragmill_endpoint_requests_total{endpoint="${name}",class="${requestClass}"}`);
  }
}

/** `question 1 …`, or with another word in the place of "question". */
export function numbered(count: number, word = 'question'): string[] {
  return Array.from({ length: count }, (_, index) => `${word} ${index + 1}`);
}

/** The question that the request asks. */
export function askedBy({ body }: FakeRequest): string {
  return String(body.messages.at(-1)?.content);
}

/** A completion of the pool's own, which no line waits for. */
export function isTrial({ body }: FakeRequest): boolean {
  return body.max_tokens === 1;
}

export function linesAt(server: FakeModelServer): FakeRequest[] {
  return server.requests.filter((request) => !isTrial(request));
}

export function trialsAt(server: FakeModelServer): FakeRequest[] {
  return server.requests.filter(isTrial);
}

/** Of these results, the share that this endpoint has answered. */
export function shareOf(name: string, results: readonly ResultLine[]): number {
  return results.filter(({ generation }) => generation?.endpoint === name).length / results.length;
}

/** Each line once, and every one answered. */
export function areAllAnswered(results: readonly ResultLine[], count: number): boolean {
  const ids = new Set(results.map((result) => result.custom_id));
  return (
    results.length === count && ids.size === count && results.every(({ status }) => status === 'succeeded')
  );
}
