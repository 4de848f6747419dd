// An answer that is far too large, sent as fast as it is read, and how much of it could be sent: what a client takes before
// it gives up shows there, give or take what the kernel holds in between.
//
//   const flood = new Flood({ piece, totalBytes });
//   server.respond(flood.behaviour);
//   flood.sentBytes

import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import type { Behaviour } from './fake-chat.ts';
import { custom, drained } from './fault-answers.ts';

export interface FloodOptions {
  /** Sent first, once. */
  readonly opening?: string;
  /** Sent again and again. */
  readonly piece: string;
  readonly closing?: string;
  readonly totalBytes: number;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What the buffers of two sockets hold on their way: Linux lets them grow to some megabytes. */
export const IN_FLIGHT_MAX_BYTES = 16 * 1024 * 1024;

export class Flood {
  sentBytes = 0;
  readonly #options: FloodOptions;

  constructor(options: FloodOptions) {
    this.#options = options;
  }

  get behaviour(): Behaviour {
    return custom((response) => this.#serve(response));
  }

  async #serve(response: ServerResponse): Promise<void> {
    const { opening = '', closing = '', totalBytes, status = 200, headers = {} } = this.#options;
    const piece = Buffer.from(this.#options.piece);
    this.sentBytes = 0;
    response.writeHead(status, headers);
    response.write(opening);
    while (!response.destroyed && this.sentBytes < totalBytes) {
      const isTaken = response.write(piece);
      this.sentBytes += piece.byteLength;
      if (!isTaken) await drained(response);
    }
    response.end(closing);
  }
}

/** 40 MB of answer that are some forty kilobytes on the wire, although nobody asked for gzip. */
export function gzipBomb(): Behaviour {
  const message = { role: 'assistant', content: 'x'.repeat(40_000_000) };
  const packed = gzipSync(JSON.stringify({ choices: [{ index: 0, message, finish_reason: 'stop' }] }));
  return custom((response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
    response.end(packed);
  });
}
