// How many uploads there may be at a time: each costs memory and a share of the disk's attention.

import { RagmillError } from '../errors.ts';

export class UploadAdmission {
  readonly #maximum: number;
  #current = 0;
  #onIdle: () => void = () => {};

  constructor(maximum: number) {
    this.#maximum = maximum;
  }

  /** Takes a place, until it is disposed of. Throws `too_many_uploads`. */
  enter(): Disposable {
    if (this.#current >= this.#maximum) {
      throw new RagmillError(
        'too_many_uploads',
        `${this.#maximum} uploads are under way (MAX_CONCURRENT_UPLOADS). Send it again in a moment.`,
      );
    }
    this.#current += 1;
    return {
      [Symbol.dispose]: () => {
        this.#current -= 1;
        if (this.#current === 0) this.#onIdle();
      },
    };
  }

  /** Resolves when no upload is under way: one that broke off has been given up by then. */
  async idle(): Promise<void> {
    if (this.#current === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }
}
