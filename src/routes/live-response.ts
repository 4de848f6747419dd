// A response that is written by hand, piece by piece as its reader takes it.
//
// (L1) What waits in this process for a slow reader is the piece being written and nothing more.
// (L2) It ends cleanly only through end(); everything else destroys the connection, so that a part is never
//      mistaken for the whole.
// (L3) When the reader is gone, `signal` is aborted at once.

import { once } from 'node:events';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../time.ts';

/** A reader that takes nothing for so long, while something waits for it, is cut off. In milliseconds. */
export const WRITE_IDLE_MS = 5 * 60_000;

/** Written at once: what a reader has to take to show that it is alive. */
const SLICE_BYTES = 64 * 1024;

/** A peer that vanished without a word is noticed by the kernel's probes, begun after so long. In milliseconds. */
const TCP_KEEP_ALIVE_MS = 60_000;

export interface LiveHead {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number>>;
}

interface Surroundings {
  readonly clock: Clock;
  /** Aborted when the service ends its streams. */
  readonly closing: AbortSignal;
}

export class LiveResponse {
  /** Aborted when the reader is gone or the service ends its streams. */
  readonly signal: AbortSignal;
  readonly #raw: FastifyReply['raw'];
  readonly #clock: Clock;
  readonly #isDelimitedByClose: boolean;

  /** Takes the reply out of Fastify's hands and sends its head. */
  constructor(request: FastifyRequest, reply: FastifyReply, head: LiveHead, around: Surroundings) {
    reply.hijack();
    this.#raw = reply.raw;
    this.#clock = around.clock;
    this.#isDelimitedByClose = request.raw.httpVersion === '1.0';
    const gone = new AbortController();
    this.#raw.once('close', () => gone.abort(new Error('the reader is gone')));
    // Writing to a connection that has just gone is no surprise: the signal tells.
    this.#raw.on('error', () => {});
    this.signal = AbortSignal.any([gone.signal, around.closing]);
    if (this.#raw.destroyed) gone.abort(new Error('the reader was gone already'));
    this.#raw.socket?.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
    // With a length in the head, an answer that has another one does not end cleanly.
    this.#raw.strictContentLength = true;
    this.#raw.writeHead(head.status, head.headers);
    // A reader must not wait for the first answer to know that it is being served.
    this.#raw.flushHeaders();
  }

  /** Resolves when the reader has room for more. Throws when it is gone, or takes nothing for too long. */
  async write(bytes: Buffer): Promise<void> {
    for (let start = 0; start < bytes.length; start += SLICE_BYTES) {
      this.signal.throwIfAborted();
      const slice = bytes.subarray(start, start + SLICE_BYTES);
      if (!this.#raw.write(slice)) await this.#waitFor('drain');
    }
  }

  /** The clean end. */
  async end(): Promise<void> {
    this.signal.throwIfAborted();
    this.#raw.end();
    if (!this.#raw.writableFinished) await this.#waitFor('finish');
  }

  /** The other end: the reader sees that the answer is not whole. */
  breakOff(): void {
    // A reader of HTTP/1.0 takes an orderly close for the end of the answer; a reset it does not.
    if (this.#isDelimitedByClose) this.#raw.socket?.resetAndDestroy();
    else this.#raw.destroy();
  }

  async #waitFor(event: 'drain' | 'finish'): Promise<void> {
    const settled = new AbortController();
    const onAbort = () => settled.abort();
    this.signal.addEventListener('abort', onAbort, { once: true });
    try {
      const isTaken = await Promise.race([
        once(this.#raw, event, { signal: settled.signal }).then(() => true),
        this.#clock.sleep(WRITE_IDLE_MS, settled.signal).then(() => false),
      ]);
      if (isTaken) return;
    } finally {
      this.signal.removeEventListener('abort', onAbort);
      settled.abort();
    }
    this.breakOff();
    throw new Error('the reader took nothing for too long');
  }
}

/** Sends what `produce` writes, to its clean end; when that fails, the connection is broken off. */
export async function sendLive(
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  head: LiveHead,
  around: Surroundings,
  produce: (response: LiveResponse) => Promise<void>,
): Promise<FastifyReply> {
  const response = new LiveResponse(request, reply, head, around);
  try {
    await produce(response);
    await response.end();
  } catch (error) {
    const level = response.signal.aborted ? 'debug' : 'warn';
    request.log[level]({ err: error, url: request.url }, 'a stream was broken off');
    response.breakOff();
  }
  return reply;
}
