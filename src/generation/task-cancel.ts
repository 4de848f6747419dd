// Cancels one task. What an AbortController does for this costs more than it takes to build a prompt.

import type { CancelSignal } from '../model-server/model-server-client.ts';

export class TaskCancel implements CancelSignal {
  #isAborted = false;
  #listener: (() => void) | null = null;

  get aborted(): boolean {
    return this.#isAborted;
  }

  abort(): void {
    this.#isAborted = true;
    this.#listener?.();
  }

  /** A task makes one call at a time, so there is one listener at a time. */
  addEventListener(_name: 'abort', listener: () => void): void {
    this.#listener = listener;
  }

  removeEventListener(): void {
    this.#listener = null;
  }
}
