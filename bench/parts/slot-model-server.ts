// A model server as a pool sees one: it works on so many requests at a time, each of which takes its time, and keeps the
// others in a queue, first come, first served. It streams its answers, cheaply: it shares the machine with what is measured.

import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { errorResponse, FIRST_PIECE, LAST_PIECE, MIDDLE_PIECE, MODELS } from './slot-model-bytes.ts';

export interface SlotServerOptions {
  /** Requests worked on at a time. */
  readonly slots: number;
  /** Mean time that an answer takes. */
  readonly answerMs: number;
  /** 0: all answers take the same time; above: some take much longer, as the sigma of a log-normal distribution. */
  readonly spread: number;
  readonly seed: number;
}

export interface ServerCounts {
  readonly requests: number;
  readonly answered: number;
  /** Requests whose connection was gone before their answer was complete. */
  readonly aborted: number;
  /** Requests answered with an error. */
  readonly refused: number;
  /** Sum over the slots of the time that they were in use. */
  readonly busySlotMs: number;
  readonly longestQueue: number;
  /** Unix time; null: none has come. */
  readonly firstRequestAtMs: number | null;
}

interface Job {
  readonly socket: Socket;
  readonly durationMs: number;
  startedAtMs: number;
  timer: NodeJS.Timeout | null;
}

/** A prompt with this in it is answered with 400 by every server. */
export const REFUSED_MARK = 'REFUSED-BY-EVERY-SERVER';

const HEAD_END = Buffer.from('\r\n\r\n');
const PIECES = 4;
/** Times the mean. */
const LONGEST = 20;
const NO_COUNTS: ServerCounts = {
  requests: 0,
  answered: 0,
  aborted: 0,
  refused: 0,
  busySlotMs: 0,
  longestQueue: 0,
  firstRequestAtMs: null,
};

export class SlotModelServer {
  readonly #port: number;
  readonly #options: SlotServerOptions;
  readonly #sockets = new Set<Socket>();
  readonly #running = new Map<Socket, Job>();
  readonly #waiting = new Map<Socket, Job>();
  #server: Server | null = null;
  #counts = { ...NO_COUNTS };
  #slowness = 1;
  #refusal: number | null = null;

  constructor(port: number, options: SlotServerOptions) {
    this.#port = port;
    this.#options = options;
  }

  get counts(): ServerCounts {
    const nowMs = performance.now();
    const running = [...this.#running.values()].reduce((sum, job) => sum + nowMs - job.startedAtMs, 0);
    return { ...this.#counts, busySlotMs: this.#counts.busySlotMs + running };
  }

  resetCounts(): void {
    this.#counts = { ...NO_COUNTS };
  }

  /** Answers take so many times their time from now on. */
  slowDown(factor: number): void {
    this.#slowness = factor;
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
    if (head.startsWith('GET')) {
      const isRefused = this.#refusal === 401;
      const isKnown = head.startsWith('GET /v1/models ');
      socket.write(isRefused ? errorResponse(401) : isKnown ? MODELS : errorResponse(404));
      return;
    }
    this.#counts.requests += 1;
    this.#counts.firstRequestAtMs ??= Date.now();
    const refusal = this.#refusal ?? (body.includes(REFUSED_MARK) ? 400 : null);
    if (refusal !== null) {
      this.#counts.refused += 1;
      socket.write(errorResponse(refusal));
      return;
    }
    const durationMs = this.#options.answerMs * this.#slowness * this.#lengthOf(body);
    this.#waiting.set(socket, { socket, durationMs, startedAtMs: 0, timer: null });
    this.#fillSlots();
    this.#counts.longestQueue = Math.max(this.#counts.longestQueue, this.#waiting.size);
  }

  #fillSlots(): void {
    for (const [socket, job] of this.#waiting) {
      if (this.#running.size >= this.#options.slots) return;
      this.#waiting.delete(socket);
      this.#running.set(socket, job);
      job.startedAtMs = performance.now();
      socket.write(FIRST_PIECE);
      this.#scheduleStep(job, 1);
    }
  }

  #scheduleStep(job: Job, step: number): void {
    // From the start on: timers that are late do not add up.
    const dueMs = job.startedAtMs + (job.durationMs * step) / PIECES;
    const run = () => (step === PIECES ? this.#finish(job) : this.#write(job, step));
    job.timer = setTimeout(run, Math.max(0, dueMs - performance.now()));
  }

  #write(job: Job, step: number): void {
    job.socket.write(MIDDLE_PIECE);
    this.#scheduleStep(job, step + 1);
  }

  #finish(job: Job): void {
    job.socket.write(LAST_PIECE);
    this.#counts.answered += 1;
    this.#leaveSlot(job);
  }

  #abort(socket: Socket): void {
    const job = this.#running.get(socket);
    if (job || this.#waiting.delete(socket)) this.#counts.aborted += 1;
    if (!job) return;
    if (job.timer) clearTimeout(job.timer);
    this.#leaveSlot(job);
  }

  #leaveSlot(job: Job): void {
    this.#running.delete(job.socket);
    this.#counts.busySlotMs += performance.now() - job.startedAtMs;
    this.#fillSlots();
  }

  /** Relative to the mean: drawn by the request itself, so that it is the same at every server and in every run. */
  #lengthOf(body: Buffer): number {
    const { spread, seed } = this.#options;
    if (spread === 0) return 1;
    // FNV-1a, then two uniform numbers out of its halves, then Box and Muller's normal one.
    let hash = 2_166_136_261 ^ seed;
    for (const byte of body) hash = Math.imul(hash ^ byte, 16_777_619);
    const [low, high] = [(hash & 0xffff) + 1, ((hash >>> 16) & 0xffff) + 1].map((half) => half / 65_537);
    const normal = Math.sqrt(-2 * Math.log(low ?? 1)) * Math.cos(2 * Math.PI * (high ?? 1));
    return Math.min(LONGEST, Math.exp(spread * normal - spread ** 2 / 2));
  }
}
