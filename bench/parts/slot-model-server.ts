// A model server as a pool sees one: it works on so many requests at a time and keeps the others in a queue, first come,
// first served. Its answers take their time as its pace has it: each its own, or as on a GPU that all share, with a KV cache.
// It streams them, cheaply: it shares the machine with what is measured.

import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { answerTokensOf, type LengthOptions, relativeLength } from './slot-answer-lengths.ts';
import { type ServerCounts, SlotCounts } from './slot-counts.ts';
import type { GpuOptions } from './slot-gpu.ts';
import { GpuPace } from './slot-gpu-pace.ts';
import { errorResponse, FIRST_PIECE, lastPiece, MIDDLE_PIECE, okResponse } from './slot-model-bytes.ts';
import type { Job, Pace, PaceEvents } from './slot-pace.ts';
import { promptOf } from './slot-prompt.ts';
import { answerAbout, type SimulatedKind } from './slot-server-kinds.ts';
import { TimedPace } from './slot-timed-pace.ts';

interface CommonOptions extends LengthOptions {
  /** Requests worked on at a time. */
  readonly slots: number;
  /** Missing: generic. */
  readonly kind?: SimulatedKind;
}

/** With `answerMs` each answer takes its own time, so much in the mean; with `gpu` as long as a GPU takes for its tokens. */
export type SlotServerOptions = CommonOptions &
  (
    | { readonly answerMs: number; readonly gpu?: undefined }
    | {
        readonly gpu: Omit<GpuOptions, 'slots' | 'isSharedAtOnce'>;
        /** In the mean. */
        readonly answerTokens: number;
      }
  );

interface Taken {
  readonly job: Job;
  hasSlot: boolean;
  cachedTokens: number;
}

/** A prompt with this in it is answered with 400 by every server. */
export const REFUSED_MARK = 'REFUSED-BY-EVERY-SERVER';

const HEAD_END = Buffer.from('\r\n\r\n');
/** Of answers that take their own time, whatever their tokens. */
const ANSWER_TOKENS = 24;
/** Of a server without a cache: room for whatever comes. */
const KV_CAPACITY_TOKENS = 1_000_000;

export class SlotModelServer {
  readonly #port: number;
  readonly #options: SlotServerOptions;
  readonly #sockets = new Set<Socket>();
  /** At most one of each connection. */
  readonly #taken = new Map<Socket, Taken>();
  readonly #counts = new SlotCounts();
  #pace: Pace;
  #server: Server | null = null;
  #refusal: number | null = null;

  constructor(port: number, options: SlotServerOptions) {
    this.#port = port;
    this.#options = options;
    this.#pace = this.#newPace();
  }

  get counts(): ServerCounts {
    return this.#counts.all;
  }

  /** Forgets what it has counted, and what it has in its cache if nothing runs. */
  reset(): void {
    this.#counts.reset();
    if (this.#taken.size > 0) return;
    const { slowness } = this.#pace;
    this.#pace = this.#newPace();
    this.#pace.slowness = slowness;
  }

  /** Answers take so many times their time from now on. */
  slowDown(factor: number): void {
    this.#pace.slowness = factor;
  }

  /** Answers everything with this status from now on, and at once; null: works as it should. */
  refuseAll(status: number | null): void {
    this.#refusal = status;
  }

  async start(): Promise<void> {
    const server = createServer((socket) => this.#serve(socket)).listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#server = server;
  }

  /** As when the process dies: connections break, and new ones are refused. */
  stop(): void {
    this.#server?.close();
    this.#server = null;
    for (const socket of this.#sockets) socket.destroy();
  }

  #newPace(): Pace {
    const options = this.#options;
    const { slots } = options;
    const events = this.#events();
    if (options.gpu === undefined) return new TimedPace({ slots, answerMs: options.answerMs }, events);
    return new GpuPace({ ...options.gpu, slots, isSharedAtOnce: options.kind === 'vllm' }, events);
  }

  /** Requests of a connection come one after the other, each with a content-length or without a body. */
  #serve(socket: Socket): void {
    let received = Buffer.alloc(0);
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#sockets.delete(socket);
      this.#abort(socket);
    });
    socket.on('data', (piece) => {
      received = received.length === 0 ? piece : Buffer.concat([received, piece]);
      const headEnd = received.indexOf(HEAD_END);
      if (headEnd < 0) return;
      const head = received.toString('latin1', 0, headEnd);
      const bodyBegin = headEnd + HEAD_END.length;
      const bodyEnd = bodyBegin + Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? 0);
      if (received.length < bodyEnd) return;
      this.#take(socket, head, received.subarray(bodyBegin, bodyEnd));
      received = received.subarray(bodyEnd);
    });
  }

  #take(socket: Socket, head: string, body: Buffer): void {
    const [, path = ''] = head.split(' ', 2);
    if (path === '/v1/chat/completions') this.#takeChat(socket, body);
    else socket.write(this.#refusal === 401 ? errorResponse(401) : this.#about(path));
  }

  #about(path: string): Buffer {
    const { slots, kind = 'generic', gpu } = this.#options;
    const { running, waiting } = this.#pace;
    const kvCapacityTokens = gpu?.kvCapacityTokens ?? KV_CAPACITY_TOKENS;
    const report = { slots, kvCapacityTokens, running, waiting };
    const answer = answerAbout(kind, path.split('?', 1)[0] ?? '', report);
    return answer === null ? errorResponse(404) : okResponse(answer);
  }

  #takeChat(socket: Socket, body: Buffer): void {
    this.#counts.request();
    const refusal = this.#refusal ?? (body.includes(REFUSED_MARK) ? 400 : null);
    if (refusal !== null) {
      this.#counts.add('refused');
      socket.write(errorResponse(refusal));
      return;
    }
    const prompt = promptOf(JSON.parse(body.toString()).messages);
    const meanTokens = this.#options.gpu === undefined ? ANSWER_TOKENS : this.#options.answerTokens;
    const job = {
      socket,
      prompt,
      length: relativeLength(prompt.question, this.#options),
      answerTokens: answerTokensOf(prompt.question, this.#options, meanTokens),
    };
    this.#taken.set(socket, { job, hasSlot: false, cachedTokens: 0 });
    this.#pace.add(job);
    this.#counts.queue(this.#pace.waiting);
  }

  /** Of a job whose connection has gone in the meantime nothing is to be heard any more. */
  #events(): PaceEvents {
    const isThere = ({ socket }: Job) => this.#taken.has(socket);
    return {
      started: ({ socket }, cachedTokens) => {
        const taken = this.#taken.get(socket);
        if (!taken) return;
        taken.hasSlot = true;
        taken.cachedTokens = cachedTokens;
        this.#counts.take();
        this.#counts.add('cachedTokens', cachedTokens);
      },
      begun: (job) => void (isThere(job) && job.socket.write(FIRST_PIECE)),
      continued: (job) => void (isThere(job) && job.socket.write(MIDDLE_PIECE)),
      done: ({ socket, prompt, answerTokens }) => {
        const taken = this.#taken.get(socket);
        if (!taken) return;
        this.#taken.delete(socket);
        this.#counts.leave();
        this.#counts.add('answered');
        const { cachedTokens } = taken;
        socket.write(
          lastPiece({ promptTokens: prompt.tokens, completionTokens: answerTokens, cachedTokens }),
        );
      },
      prefilled: (tokens) => this.#counts.add('prefilledTokens', tokens),
    };
  }

  #abort(socket: Socket): void {
    const taken = this.#taken.get(socket);
    if (!taken) return;
    this.#taken.delete(socket);
    this.#counts.add('aborted');
    if (taken.hasSlot) this.#counts.leave();
    this.#pace.remove(taken.job);
  }
}
