// A model server for campaigns: it keeps counts instead of requests, so that it can answer hundreds of thousands. Its
// answer names the mark of its question and a hash of the whole prompt, so that a crossed answer cannot hide.
//
//   const server = await CountingModelServer.start();
//   server.delayMs = 20                      every answer waits that long
//   server.padding = 'xx…'                   stands at the end of every answer
//   server.isHolding = true; server.release()  answers wait for release()
//   server.statusOf = (mark) => 400 | null   questions that are refused with this status
//   server.callsOf(mark)  server.calls       how often a question was asked; all calls
//   server.hasAnswered(mark, answer)         true for an answer that it gave to this question
//   server.running                           the marks being answered now
//   await server.until(() => condition)      looked at on every change

import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import { markIn } from './marked-lines.ts';

interface ChatBody {
  readonly model: string;
  readonly messages: readonly { readonly content: string }[];
}

export class CountingModelServer {
  delayMs = 0;
  padding = '';
  isHolding = false;
  statusOf: (mark: string) => number | null = () => null;
  calls = 0;
  readonly running = new Map<object, string>();
  readonly #asked = new Map<string, { calls: number; readonly answers: Set<string> }>();
  readonly #changes = new EventEmitter().setMaxListeners(0);
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #http: Server;
  #held: (() => void)[] = [];

  private constructor() {
    this.#http = createServer((request, response) => void this.#serve(request, response));
    // An aborted call must be seen at once, and an idle connection of a killed client not be kept.
    this.#http.keepAliveTimeout = 10_000;
  }

  static async start(): Promise<CountingModelServer> {
    const server = new CountingModelServer();
    await new Promise<void>((resolve) => server.#http.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  callsOf(mark: string): number {
    return this.#asked.get(mark)?.calls ?? 0;
  }

  hasAnswered(mark: string, answer: string): boolean {
    return this.#asked.get(mark)?.answers.has(answer) ?? false;
  }

  /** Lets the oldest held answers go on; all of them end the holding. */
  release(count = Number.POSITIVE_INFINITY): void {
    if (count === Number.POSITIVE_INFINITY) this.isHolding = false;
    for (const go of this.#held.splice(0, count)) go();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => this.#changes.once('change', resolve));
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    if (incoming.url === '/v1/models') return sendJson(response, 200, MODELS);
    if (incoming.url !== '/v1/chat/completions') return sendJson(response, 404, { detail: 'Not Found' });
    const body = await readText(incoming).catch(() => null);
    // A client that was killed while it sent has asked nothing.
    if (body === null) return;
    const { model, messages } = JSON.parse(body) as ChatBody;
    const mark = markIn(messages.at(-1)?.content ?? '') ?? '';
    const answer = `${answerTo(mark, messages)}${this.padding}`;
    this.#begin(mark, answer, response);
    await this.#wait();
    if (response.destroyed) return;
    const status = this.statusOf(mark);
    if (status !== null) return sendJson(response, status, { error: { message: `refused: ${mark}` } });
    streamAnswer(response, model, answer);
  }

  #begin(mark: string, answer: string, response: ServerResponse): void {
    this.calls += 1;
    const asked = this.#asked.get(mark) ?? { calls: 0, answers: new Set() };
    this.#asked.set(mark, asked);
    asked.calls += 1;
    asked.answers.add(answer);
    this.running.set(response, mark);
    response.on('close', () => {
      this.running.delete(response);
      this.#changes.emit('change');
    });
    this.#changes.emit('change');
  }

  async #wait(): Promise<void> {
    if (this.isHolding) await new Promise<void>((resolve) => this.#held.push(resolve));
    if (this.delayMs === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        resolve();
      }, this.delayMs);
      this.#timers.add(timer);
    });
  }
}

const MODELS = { object: 'list', data: [{ id: 'counting-model', object: 'model', owned_by: 'chaos' }] };

/** What the answer to a marked question says. */
function answerTo(mark: string, messages: ChatBody['messages']): string {
  const hash = createHash('sha256').update(JSON.stringify(messages)).digest('hex').slice(0, 16);
  return `[[${mark}]] ${hash}`;
}

function streamAnswer(response: ServerResponse, model: string, content: string): void {
  const base = { id: 'chatcmpl', object: 'chat.completion.chunk', created: 0, model };
  const event = (payload: object) => `data: ${JSON.stringify({ ...base, ...payload })}\n\n`;
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const delta = event({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });
  const closing = event({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
  const usage = event({ choices: [], usage: { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 } });
  response.end(`${delta}${closing}${usage}data: [DONE]\n\n`);
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
