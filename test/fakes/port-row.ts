// Ports in a row that nobody uses, for servers that are found by their ports.

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';

/** The first of `count` free ports in a row. */
export async function freePortRow(count: number): Promise<number> {
  for (;;) {
    const held: Server[] = [];
    try {
      const first = await hold(held, 0);
      for (let next = first + 1; next < first + count; next += 1) await hold(held, next);
      return first;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
      // Somebody has one of them: another row.
    } finally {
      for (const server of held) server.close();
    }
  }
}

async function hold(held: Server[], port: number): Promise<number> {
  const server = createServer().listen(port, '127.0.0.1');
  held.push(server);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
