// An embedding server for tests: real HTTP on a free port of 127.0.0.1, speaking /v1/embeddings. Its model hashes the words of a
// text into a vector, so that texts with words in common are near each other.
//
//   const server = await startFakeEmbeddingServer(t);
//   server.url                              base URL, without /v1
//   server.respond((request) => behaviour)  … for each request from now on; null: as a server should
//   server.requests                         every request: texts, encoding, model, headers, path
//   server.texts                            all texts that were asked for
//   server.model = 'other'                  another name
//   server.seed = 2                         another model behind the same name
//   server.noise = 1e-3                     every number a little off, each time another way
//   server.dimensions  maxTexts  maxCharacters  knowsBase64
//   await server.refuse()  await server.accept()  the port is closed (connection refused), and opened again

import { createHash } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import type { Test } from 'tap';

interface EmbeddingRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly model: string;
  readonly texts: readonly string[];
  readonly encoding: string | undefined;
}

type EmbeddingBehaviour =
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string | object;
    }
  /** The vectors as they would be sent, bent. */
  | { readonly kind: 'items'; readonly bend: (items: EmbeddingItem[]) => unknown }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'hang' | 'reset' | 'cut' };

interface EmbeddingItem {
  index?: number;
  embedding: unknown;
}

export async function startFakeEmbeddingServer(t: Pick<Test, 'teardown'>): Promise<FakeEmbeddingServer> {
  const server = new FakeEmbeddingServer();
  await server.accept();
  t.teardown(() => server.refuse());
  return server;
}

export class FakeEmbeddingServer {
  readonly requests: EmbeddingRequest[] = [];
  model: string | null = 'words-1';
  seed = 1;
  noise = 0;
  dimensions = 64;
  maxTexts = Number.POSITIVE_INFINITY;
  maxCharacters = Number.POSITIVE_INFINITY;
  knowsBase64 = true;
  #respond: (request: EmbeddingRequest) => EmbeddingBehaviour | null = () => null;
  #http = createServer();
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get texts(): string[] {
    return this.requests.flatMap(({ texts }) => texts);
  }

  respond(respond: (request: EmbeddingRequest) => EmbeddingBehaviour | null): void {
    this.#respond = respond;
  }

  async accept(): Promise<void> {
    this.#http = createServer((request, response) => void this.#serve(request, response));
    await new Promise<void>((resolve) => this.#http.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (this.#http.address() as AddressInfo).port;
  }

  async refuse(): Promise<void> {
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  vectorOf(text: string): Float32Array {
    const vector = new Float32Array(this.dimensions);
    for (const word of text.toLowerCase().match(/\p{L}+/gu) ?? ['']) {
      const hash = createHash('sha256').update(`${this.seed} ${word}`).digest();
      for (let place = 0; place < 4; place++) {
        const at = hash.readUInt16LE(place * 2) % this.dimensions;
        vector[at] = (vector[at] ?? 0) + ((hash[10 + place] ?? 0) % 2 === 0 ? 1 : -1);
      }
    }
    const length = Math.hypot(...vector) || 1;
    return vector.map((value) => value / length + (Math.random() - 0.5) * this.noise);
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    let body: { model: string; input: string[]; encoding_format?: string };
    try {
      body = JSON.parse(await readText(incoming));
    } catch {
      return; // The client went away while it was sending.
    }
    const request: EmbeddingRequest = {
      path: String(incoming.url),
      headers: incoming.headers,
      model: body.model,
      texts: body.input,
      encoding: body.encoding_format,
    };
    this.requests.push(request);
    this.#behave(this.#respond(request) ?? this.#limit(request), request, response);
  }

  #limit({ texts, encoding }: EmbeddingRequest): EmbeddingBehaviour | null {
    if (encoding === 'base64' && !this.knowsBase64) return refusal(400, 'encoding_format: unknown value');
    if (texts.length > this.maxTexts) {
      return refusal(413, `batch size ${texts.length} > maximum allowed batch size ${this.maxTexts}`);
    }
    const longest = Math.max(...texts.map((text) => text.length));
    if (longest <= this.maxCharacters) return null;
    return refusal(
      400,
      `This model's maximum context length is ${this.maxCharacters} tokens. However, you requested ${longest} tokens.`,
    );
  }

  #behave(behaviour: EmbeddingBehaviour | null, request: EmbeddingRequest, response: ServerResponse): void {
    const items = request.texts.map((text, index) => ({ index, embedding: this.#encode(text, request) }));
    if (behaviour === null) this.#send(items, response);
    else if (behaviour.kind === 'items') this.#send(behaviour.bend(items), response);
    else if (behaviour.kind === 'text') response.end(behaviour.text);
    else if (behaviour.kind === 'reset') response.socket?.resetAndDestroy();
    else if (behaviour.kind === 'cut') {
      response.writeHead(200, { 'content-length': '100000' });
      response.write('{"data":[', () => response.socket?.destroySoon());
    } else if (behaviour.kind === 'status') {
      const { status, headers = {}, body = '' } = behaviour;
      response.writeHead(status, headers);
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    }
  }

  #send(data: unknown, response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify({ object: 'list', data, ...(this.model === null ? {} : { model: this.model }) }),
    );
  }

  #encode(text: string, { encoding }: EmbeddingRequest): unknown {
    const vector = this.vectorOf(text);
    return encoding === 'base64' ? Buffer.from(vector.buffer).toString('base64') : [...vector];
  }
}

export function refusal(status: number, message: string): EmbeddingBehaviour {
  const type = status < 500 ? 'invalid_request_error' : 'server_error';
  return { kind: 'status', status, body: { error: { message, type, code: status } } };
}
