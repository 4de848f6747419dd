// A model server for tests: real HTTP on a free port of 127.0.0.1, speaking /v1/models, /v1/chat/completions (stream and
// document), /v1/completions and /v1/embeddings (documents), whose every answer can be bent.
//
//   const server = await startFakeModelServer({ models: ['fake-model'] });
//   t.teardown(() => server.close());
//   server.url                                  base URL, without /v1
//   server.respond({ kind: 'answer', text })    the behaviour for all requests from now on
//   server.respond((request) => behaviour)      … or one for each request (see Behaviour in fake-chat.ts for what there is)
//   server.release(n?)                          lets the n (default: all) oldest held answers go on; hold: true
//   server.requests                             every request to one of the last three: index, url, text as it came, body, headers, state
//   server.inFlight  maxInFlight  abortedCount  now, at most, and given up by the client
//   await server.until(() => condition)         resolves as soon as the condition holds; looked at on every change
//   await server.refuse()  await server.accept()   the port is closed (connection refused), and opened again
//   server.connections                          open sockets
//   server.models = […]                         what /v1/models lists; null makes it answer 404
//   server.modelsAnswer = 'text'                … or exactly this text, or 'hold': nothing at all
//   startFakeModelServer({ kind })              it is of this kind, see kind-routes.ts
//   server.paths                                the paths of all requests but chats
//   server.routeFaults.set('/path', behaviour)  what happens on any path but that of chats
//
// An answer without a text is `answer to <hash of the messages>`, so that a test can prove that an answer belongs
// to its question: fakeAnswer(messages) in fake-chat.ts says what to expect.

import { EventEmitter } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import {
  type AnswerBehaviour,
  abortEvent,
  type Behaviour,
  type ChatBody,
  chatEvents,
  isOpenaiEndpoint,
  openaiDocument,
} from './fake-chat.ts';
import type { KindRoutes } from './kind-routes.ts';

export interface FakeRequest {
  readonly index: number;
  readonly url: string;
  /** The body as it came. */
  readonly text: string;
  readonly body: ChatBody;
  readonly headers: IncomingHttpHeaders;
  state: 'running' | 'answered' | 'aborted';
  /** The server gives the answer up. */
  abort(): void;
}

interface FakeServerOptions {
  readonly models?: readonly string[];
  readonly respond?: Respond;
  readonly kind?: KindRoutes | null;
  /** Any free one if it is not given. */
  readonly port?: number;
}

export async function startFakeModelServer(options: FakeServerOptions = {}): Promise<FakeModelServer> {
  const server = new FakeModelServer(options);
  if (options.respond !== undefined) server.respond(options.respond);
  await server.accept();
  return server;
}

type Misbehaviour = Exclude<Behaviour, AnswerBehaviour>;
type Respond = Behaviour | ((request: FakeRequest) => Behaviour);

export class FakeModelServer {
  readonly requests: FakeRequest[] = [];
  readonly paths: string[] = [];
  readonly routeFaults = new Map<string, Misbehaviour>();
  models: readonly string[] | null;
  modelsAnswer: string | null = null;
  maxInFlight = 0;
  readonly #changes = new EventEmitter().setMaxListeners(0);
  readonly #sockets = new Set<Socket>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #kind: KindRoutes | null;
  #held: (() => void)[] = [];
  #respond: (request: FakeRequest) => Behaviour = () => ({ kind: 'answer' });
  #http = createServer();
  #port = 0;

  constructor({ models = ['fake-model'], kind = null, port = 0 }: Omit<FakeServerOptions, 'respond'>) {
    this.models = models;
    this.#kind = kind;
    this.#port = port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  get inFlight(): number {
    return this.requests.filter((request) => request.state === 'running').length;
  }

  get abortedCount(): number {
    return this.requests.filter((request) => request.state === 'aborted').length;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  respond(respond: Respond): void {
    this.#respond = typeof respond === 'function' ? respond : () => respond;
  }

  release(count = Number.POSITIVE_INFINITY): void {
    for (const go of this.#held.splice(0, count)) go();
  }

  /** Resolves as soon as the condition holds; it is looked at whenever something changes here. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => this.#changes.once('change', resolve));
  }

  /** Listens, again on the same port after refuse(). */
  async accept(): Promise<void> {
    this.#http = createServer((request, response) => void this.#serve(request, response));
    this.#http.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      this.#changes.emit('change');
      socket.on('close', () => {
        this.#sockets.delete(socket);
        this.#changes.emit('change');
      });
    });
    await new Promise<void>((resolve, reject) => {
      this.#http.once('error', reject).listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = (this.#http.address() as AddressInfo).port;
  }

  /** Closes the port and every connection: what runs is cut, what comes is refused. */
  async refuse(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#held = [];
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  async close(): Promise<void> {
    await this.refuse();
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = String(incoming.url);
    if (!isOpenaiEndpoint(url)) return this.#serveOther(incoming, response);
    let text: string;
    try {
      text = await readText(incoming);
    } catch {
      return; // The client went away while it was sending.
    }
    const body = JSON.parse(text) as ChatBody;
    const request: FakeRequest = {
      index: this.requests.length,
      url,
      text,
      body,
      headers: incoming.headers,
      state: 'running',
      abort: () => response.end(abortEvent(body)),
    };
    this.requests.push(request);
    this.maxInFlight = Math.max(this.maxInFlight, this.inFlight);
    response.on('close', () => {
      request.state = response.writableFinished ? 'answered' : 'aborted';
      this.#changes.emit('change');
    });
    this.#changes.emit('change');
    await this.#behave(this.#respond(request), request, response);
  }

  async #serveOther(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = String(incoming.url);
    this.paths.push(path);
    this.#changes.emit('change');
    const fault = this.routeFaults.get(path);
    if (fault !== undefined) return this.#misbehave(fault, response);
    if (path === '/v1/models') return this.#listModels(response);
    const { headers } = incoming;
    const method = String(incoming.method);
    const body = method === 'POST' ? JSON.parse(await readText(incoming)) : null;
    const answer = this.#kind?.answer({ method, path, headers, body, chats: this.requests });
    this.#changes.emit('change');
    if (answer === undefined) sendJson(response, 404, { detail: 'Not Found' });
    else if (typeof answer.body === 'string') response.end(answer.body);
    else sendJson(response, answer.status ?? 200, answer.body);
  }

  #listModels(response: ServerResponse): void {
    if (this.modelsAnswer === 'hold') return;
    if (this.modelsAnswer !== null) {
      response.end(this.modelsAnswer);
      return;
    }
    const models = this.models?.map(
      (id) => this.#kind?.listEntry(id) ?? { id, object: 'model', owned_by: 'fake' },
    );
    if (models === undefined) sendJson(response, 404, { detail: 'Not Found' });
    else sendJson(response, 200, { object: 'list', data: models });
  }

  async #behave(behaviour: Behaviour, request: FakeRequest, response: ServerResponse): Promise<void> {
    if (behaviour.kind !== 'answer') return this.#misbehave(behaviour, response);
    if (behaviour.hold) await this.#hold();
    if (behaviour.delayMs !== undefined) await this.#wait(behaviour.delayMs);
    if (!response.writableEnded) await this.#answer(behaviour, request, response);
  }

  async #misbehave(behaviour: Misbehaviour, response: ServerResponse): Promise<void> {
    if ('hold' in behaviour && behaviour.hold) await this.#hold();
    if (behaviour.kind === 'status') {
      const { status, headers, body = '' } = behaviour;
      const isText = typeof body === 'string';
      response.writeHead(status, { 'content-type': isText ? 'text/plain' : 'application/json', ...headers });
      response.end(isText ? body : JSON.stringify(body));
    } else if (behaviour.kind === 'raw')
      await this.#sendRaw(behaviour.pieces, behaviour.end ?? 'clean', response);
    else if (behaviour.kind === 'custom') await behaviour.serve(response);
    else {
      if (behaviour.kind === 'garbage') response.socket?.write('SSH-2.0-OpenSSH_9.2\r\n\r\n');
      response.socket?.destroySoon();
    }
  }

  async #answer(behaviour: AnswerBehaviour, request: FakeRequest, response: ServerResponse): Promise<void> {
    if (behaviour.document || !request.body.stream) {
      sendJson(response, 200, openaiDocument(behaviour, request));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const { opening, pieces, closing } = chatEvents(behaviour, request.body);
    response.write(opening);
    for (const [index, piece] of pieces.entries()) {
      if (index === behaviour.breakAfter) {
        if (behaviour.breakWith === 'cut') cut(response);
        return;
      }
      response.write(piece);
      if (behaviour.dripMs !== undefined) await this.#wait(behaviour.dripMs);
      if (response.destroyed || response.writableEnded) return;
    }
    response.end(closing);
  }

  async #sendRaw(
    pieces: readonly (string | Uint8Array)[],
    end: 'clean' | 'cut' | 'open',
    response: ServerResponse,
  ): Promise<void> {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.socket?.setNoDelay(true);
    for (const piece of pieces) {
      await new Promise<void>((resolve) => response.write(piece, () => setImmediate(resolve)));
    }
    if (end === 'clean') response.end();
    else if (end === 'cut') cut(response);
  }

  #hold(): Promise<void> {
    return new Promise((resolve) => {
      this.#held.push(resolve);
      this.#changes.emit('change');
    });
  }

  #wait(durationMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        resolve();
      }, durationMs);
      this.#timers.add(timer);
    });
  }
}

/** What was written arrives, then the socket goes, without the end that the encoding promises. */
function cut(response: ServerResponse): void {
  response.write('', () => response.socket?.destroySoon());
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
