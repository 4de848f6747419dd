// What sets a fake server of one kind apart: how its list of models looks, and the routes on which it speaks of
// itself. Each kind's values can be set at any time.
//
//   const kind = new FakeVllm();
//   const server = await startFakeModelServer({ kind });
//   kind.kvBlocks = [100, 100];
//   server.routeFaults.set('/metrics', { kind: 'status', status: 401 });

import type { IncomingHttpHeaders } from 'node:http';
import type { FakeRequest } from './fake-model-server.ts';

export interface RouteRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** The parsed body of a POST. */
  readonly body: unknown;
  /** The chat requests that the server has had. */
  readonly chats: readonly FakeRequest[];
}

export interface RouteAnswer {
  readonly status?: number;
  readonly body: string | object;
}

export interface KindRoutes {
  /** What the list of models says of one model. */
  listEntry(id: string): object;
  /** undefined: there is no such route. */
  answer(request: RouteRequest): RouteAnswer | undefined;
}

export interface FakeLoad {
  readonly running: number;
  readonly waiting: number;
}

/** What really runs on the server. */
export function actualLoad(chats: readonly FakeRequest[]): FakeLoad {
  return { running: chats.filter(({ state }) => state === 'running').length, waiting: 0 };
}
