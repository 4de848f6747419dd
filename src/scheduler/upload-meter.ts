// Meters the bytes of an upload: holds them to the limit, and takes the fingerprint by which a repeated request
// is known as the same.

import { createHash, type Hash } from 'node:crypto';
import { RagmillError } from '../errors.ts';

export class UploadMeter {
  readonly #maxBytes: number;
  readonly #hash: Hash | null;
  #bytes = 0;

  /** `isHashed`: only a request with an Idempotency-Key needs the fingerprint. */
  constructor(maxBytes: number, isHashed: boolean) {
    this.#maxBytes = maxBytes;
    this.#hash = isHashed ? createHash('sha256') : null;
  }

  /** Bytes so far, as they are without compression. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Throws `too_large` as soon as the limit is passed. */
  add(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#bytes > this.#maxBytes) {
      throw new RagmillError(
        'too_large',
        `The upload is over ${this.#maxBytes} bytes (MAX_BATCH_BYTES). Split it.`,
      );
    }
    this.#hash?.update(piece);
  }

  /** Takes the file for its fingerprint alone. */
  async drain(source: AsyncIterable<Buffer>): Promise<void> {
    for await (const piece of source) this.add(piece);
  }

  /** Of the file and of the options that came with it, in whatever order; null without a hash. To be called once. */
  requestHash(given: Readonly<Record<string, unknown>>): string | null {
    if (this.#hash === null) return null;
    const file = this.#hash.digest('hex');
    const options = Object.entries(given).sort(([a], [b]) => (a < b ? -1 : 1));
    return createHash('sha256')
      .update(JSON.stringify([file, options]))
      .digest('hex');
  }
}
