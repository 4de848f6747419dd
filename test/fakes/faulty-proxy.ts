// An HTTP proxy in front of a real server that misbehaves on demand: refuses, hangs, or answers nonsense.

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';

export type Fault =
  | { readonly kind: 'pass' }
  | { readonly kind: 'hang' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'answer'; readonly status: number; readonly body: string };

export interface FaultyProxy {
  readonly url: string;
  /** Paths of all requests so far. */
  readonly paths: string[];
  /** Decides what happens to a request, given its path. */
  onRequest: (path: string) => Fault;
}

export async function faultyProxy(t: Pick<Test, 'teardown'>, targetUrl: string): Promise<FaultyProxy> {
  const server = createServer(async (request, response) => {
    const path = String(request.url);
    proxy.paths.push(path);
    const fault = proxy.onRequest(path);
    if (fault.kind === 'hang') return;
    if (fault.kind === 'reset') return request.socket.destroy();
    if (fault.kind === 'answer') return answerWith(response, fault);
    const answer = await fetch(new URL(path, targetUrl), await toInit(request));
    response.writeHead(answer.status, { 'content-type': String(answer.headers.get('content-type')) });
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  const proxy: FaultyProxy = {
    url: `http://127.0.0.1:${port}`,
    paths: [],
    onRequest: () => ({ kind: 'pass' }),
  };
  return proxy;
}

function answerWith(response: ServerResponse, { status, body }: { status: number; body: string }): void {
  const type = body.startsWith('{') ? 'application/json' : 'text/html';
  response.writeHead(status, { 'content-type': type }).end(body);
}

async function toInit(request: IncomingMessage): Promise<RequestInit> {
  const body = Buffer.concat(await request.toArray());
  const method = String(request.method);
  const headers = { 'content-type': request.headers['content-type'] ?? 'application/json' };
  return body.length === 0 ? { method, headers } : { method, headers, body };
}
