// Twenty streams that read as fast as they can must not hold the event loop: everybody who reads a page waits for
// its turn, and between two turns the loop goes round once.

import { setImmediate as loopRound } from 'node:timers/promises';

export class Turns {
  #last: Promise<void> = Promise.resolve();

  next(): Promise<void> {
    this.#last = this.#last.then(() => loopRound());
    return this.#last;
  }
}
