// Answers that go wrong on the wire, for FakeModelServer.respond(). What it can do by itself — hold an answer, stall, cut
// or drip it, refuse it — is in fake-chat.ts.

import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Behaviour } from './fake-chat.ts';

const EVENT_STREAM = { 'content-type': 'text/event-stream' };

/** Sends these pieces of a stream, then resets the connection (RST); without pieces not even the head is sent. */
export function reset(pieces: readonly string[] = []): Behaviour {
  return custom(async (response) => {
    const { socket } = response;
    if (pieces.length > 0) await write(response, pieces.join(''), EVENT_STREAM);
    socket?.resetAndDestroy();
  });
}

/** The head of the answer comes byte by byte, one in so many milliseconds, and never ends. */
export function drippingHead(intervalMs: number): Behaviour {
  return custom(async ({ socket }) => {
    for (const byte of endlessHead()) {
      if (socket === null || socket.destroyed) return;
      socket.write(byte);
      await sleep(intervalMs);
    }
  });
}

/** The head of the answer comes as fast as it is read, and never ends. */
export function floodingHead(): Behaviour {
  return custom(async ({ socket }) => {
    const line = `x-more: ${'x'.repeat(1000)}\r\n`;
    socket?.write('HTTP/1.1 200 OK\r\n');
    while (socket !== null && !socket.destroyed) {
      if (!socket.write(line)) await drained(socket);
    }
  });
}

/** Such a piece of a stream in so many milliseconds, for ever. */
export function dripping(piece: string, intervalMs: number): Behaviour {
  return custom(async (response) => {
    response.writeHead(200, EVENT_STREAM);
    while (!response.destroyed) {
      response.write(piece);
      await sleep(intervalMs);
    }
  });
}

/** The bytes of a whole answer, head included, as they are. The connection stays open. */
export function bytes(text: string): Behaviour {
  return custom(({ socket }) => {
    socket?.write(text);
  });
}

/** A refusal that asks for patience: for so many seconds, or until then. */
export function refusal(status: number, retryAfter: number | Date): Behaviour {
  const header = typeof retryAfter === 'number' ? String(retryAfter) : retryAfter.toUTCString();
  return { kind: 'status', status, headers: { 'retry-after': header }, body: 'busy' };
}

export function custom(serve: (response: ServerResponse) => Promise<void> | void): Behaviour {
  return { kind: 'custom', serve };
}

/** Resolves when more can be written, or nobody is left to write to. */
export function drained(stream: Socket | ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done).off('close', done);
      resolve();
    };
    if (stream.destroyed) resolve();
    else stream.on('drain', done).on('close', done);
  });
}

/** Resolves when the kernel has it. */
function write(response: ServerResponse, text: string, headers: Record<string, string>): Promise<void> {
  response.writeHead(200, headers);
  return new Promise((resolve) => response.write(text, () => resolve()));
}

function* endlessHead(): Generator<string> {
  yield* 'HTTP/1.1 200 OK\r\nx-slow: ';
  for (;;) yield 'x';
}
