// The pool's end of the line to one generation thread.

import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { MessageGroups } from './message-groups.ts';
import type { WorkerAnswer, WorkerTask } from './worker-protocol.ts';

export class ThreadLink {
  /** The thread's end, to be given away. */
  readonly farPort: MessagePort;
  /** Tasks that the thread has not answered yet. */
  running = 0;
  /** Whether what is sent reaches a thread, or is known to be lost. */
  isOpen = false;
  readonly #port: MessagePort;
  readonly #groups: MessageGroups<WorkerTask>;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.farPort = port2;
    this.#groups = new MessageGroups(port1);
  }

  send(task: WorkerTask): void {
    this.running += 1;
    this.#groups.send(task);
  }

  /** Calls `take` with every group of answers. */
  listen(take: (answers: readonly WorkerAnswer[]) => void): void {
    this.#port.on('message', take);
  }

  close(): void {
    this.#port.close();
  }
}
