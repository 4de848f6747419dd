// Sends what one turn of the event loop brings together as one message.

import type { MessagePort } from 'node:worker_threads';

export class MessageGroups<Item> {
  readonly #port: MessagePort;
  readonly #post = () => this.#flush();
  #group: Item[] = [];

  constructor(port: MessagePort) {
    this.#port = port;
  }

  /** It leaves after the sockets and ports that have something now were read. */
  send(item: Item): void {
    if (this.#group.push(item) === 1) setImmediate(this.#post);
  }

  #flush(): void {
    const group = this.#group;
    this.#group = [];
    this.#port.postMessage(group);
  }
}
