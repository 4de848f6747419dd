// A TCP proxy in front of a server, for what goes wrong in the network between: connections over which nothing passes
// any more though nobody has closed them, as when a router forgets them or a cable is cut.
//
//   const proxy = await startTcpProxy(t, server.port);
//   proxy.url                        reach the server by this
//   proxy.onConnect = 'silence'      what becomes of connections from now on: 'pass', 'silence' (accepted, never answered),
//                                    'unread' (the same, and nothing is read: they fill up), 'reset'
//   proxy.silence()                  those that are open now: nothing passes any more, in either direction
//   proxy.reset()                    those that are open now: a reset reaches the client
//   proxy.open  proxy.silent         the client's connections that are open; how many of them are silent
//   proxy.accepted                   connections so far

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Test } from 'tap';

interface Link {
  readonly client: Socket;
  /** null: it never got through. */
  readonly server: Socket | null;
  isSilent: boolean;
}

export class TcpProxy {
  onConnect: 'pass' | 'silence' | 'unread' | 'reset' = 'pass';
  accepted = 0;
  readonly #links = new Set<Link>();
  readonly #serverPort: number;
  readonly #listener = createServer({ noDelay: true }, (client) => this.#accept(client));

  constructor(serverPort: number) {
    this.#serverPort = serverPort;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`;
  }

  get open(): number {
    return this.#links.size;
  }

  get silent(): number {
    return [...this.#links].filter(({ isSilent }) => isSilent).length;
  }

  silence(): void {
    for (const link of this.#links) link.isSilent = true;
  }

  reset(): void {
    for (const { client, server } of this.#links) {
      client.resetAndDestroy();
      server?.destroy();
    }
  }

  async listen(): Promise<void> {
    this.#listener.listen(0, '127.0.0.1');
    await once(this.#listener, 'listening');
  }

  async close(): Promise<void> {
    this.#listener.close();
    for (const { client, server } of this.#links) {
      client.destroy();
      server?.destroy();
    }
    await once(this.#listener, 'close');
  }

  #accept(client: Socket): void {
    this.accepted += 1;
    if (this.onConnect === 'reset') {
      client.resetAndDestroy();
      return;
    }
    const isSilent = this.onConnect !== 'pass';
    const server = isSilent ? null : connect({ port: this.#serverPort, host: '127.0.0.1', noDelay: true });
    const link = { client, server, isSilent };
    this.#links.add(link);
    client.on('error', () => {});
    client.on('close', () => {
      this.#links.delete(link);
      // Of a silent connection the other side hears nothing; it is dropped here, lest it live for ever.
      server?.destroy();
    });
    // Else also a silent one is read, so that the client's closing is noticed.
    if (this.onConnect === 'unread') return;
    client.on('data', (bytes) => link.isSilent || server?.write(bytes));
    server?.on('data', (bytes) => link.isSilent || client.write(bytes));
    server?.on('error', () => link.isSilent || client.resetAndDestroy());
    server?.on('close', () => link.isSilent || client.end());
  }
}

/** It closes with the test. */
export async function startTcpProxy(t: Pick<Test, 'teardown'>, serverPort: number): Promise<TcpProxy> {
  const proxy = new TcpProxy(serverPort);
  await proxy.listen();
  t.teardown(() => proxy.close());
  return proxy;
}
