// An upload as it was before it was compressed. Memory is bounded whatever comes: pieces of 64 KiB, and a decoder's
// window of at most 8 MiB.

import { RagmillError } from '../errors.ts';
import {
  createDecoder,
  type Decoder,
  encodingOf,
  isDecoderError,
  MAGIC_BYTES,
  toEncodingError,
  type UploadEncoding,
} from './upload-encoding.ts';

/** A few long lines over and over can be packed this tightly; real questions come nowhere near. */
const RATIO_MAX = 500;
/** Up to here any ratio will do. */
const UNSUSPICIOUS_BYTES = 64 * 1024 * 1024;
/** zstd files may be made of several frames, but each costs a decoder. */
const FRAMES_MAX = 10_000;

/**
 * Throws `invalid_encoding` for what the encoding cannot be, `compression_bomb`, `unsupported_media_type` for what is
 * compressed twice, and whatever the source throws.
 */
export async function* decoded(
  source: AsyncIterable<Buffer>,
  named: UploadEncoding | null,
): AsyncGenerator<Buffer> {
  const input = new Unread(source);
  try {
    const encoding = named ?? encodingOf(await input.head(MAGIC_BYTES));
    if (encoding === null) yield* input.pieces();
    else yield* refuseNested(guarded(input, encoding));
  } finally {
    input.close();
  }
}

async function* refuseNested(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const input = new Unread(source);
  try {
    if (encodingOf(await input.head(MAGIC_BYTES)) !== null) {
      throw new RagmillError(
        'unsupported_media_type',
        'The upload is compressed twice. Compress it once, or send it plain.',
      );
    }
    yield* input.pieces();
  } finally {
    input.close();
  }
}

async function* guarded(input: Unread, encoding: UploadEncoding): AsyncGenerator<Buffer> {
  let decodedBytes = 0;
  let frames = 0;
  while ((await input.head(1)).length > 0) {
    frames += 1;
    if (frames > FRAMES_MAX) throw bomb(`has more than ${FRAMES_MAX} frames`);
    for await (const piece of decodeFrame(input, encoding)) {
      decodedBytes += piece.length;
      if (decodedBytes > UNSUSPICIOUS_BYTES && decodedBytes > input.taken * RATIO_MAX) {
        throw bomb(`unpacks to more than ${RATIO_MAX} times its size`);
      }
      yield piece;
    }
  }
}

function bomb(what: string): RagmillError {
  return new RagmillError('compression_bomb', `The upload ${what}. Send it plain, or split it.`);
}

/**
 * One frame, or several where the decoder takes them as one. Node's zstd decoder ends with the frame in hand and
 * would drop what follows in the same piece without a word: what it has not taken is put back.
 */
async function* decodeFrame(input: Unread, encoding: UploadEncoding): AsyncGenerator<Buffer> {
  const decoder = createDecoder(encoding);
  // Its failure is the decoder's, and met there.
  const feeding = feed(decoder, input).catch((error) => decoder.destroy(error));
  try {
    for await (const piece of decoder) yield piece as Buffer;
    await feeding;
  } catch (error) {
    throw isDecoderError(error) ? toEncodingError(encoding, error) : error;
  } finally {
    decoder.destroy();
  }
}

/** One piece at a time, so that what the decoder leaves is always the end of the last one. */
async function feed(decoder: Decoder, input: Unread): Promise<void> {
  let fed = 0;
  for (let piece = await input.next(); piece !== null; piece = await input.next()) {
    if (decoder.destroyed) return;
    fed += piece.length;
    await written(decoder, piece);
    const untaken = fed - decoder.bytesWritten;
    if (untaken > 0 && !decoder.destroyed) return input.putBack(piece.subarray(piece.length - untaken));
  }
  decoder.end();
}

/** Resolves when the decoder has taken the piece, or takes no more. */
function written(decoder: Decoder, piece: Buffer): Promise<void> {
  return new Promise((resolve) => {
    decoder.once('close', resolve);
    decoder.write(piece, () => {
      decoder.off('close', resolve);
      resolve();
    });
  });
}

/** A source that can be looked into, and given back what was too much. */
class Unread {
  readonly #items: AsyncIterator<Buffer>;
  #back: Buffer[] = [];
  /** Bytes that were taken and not put back. */
  taken = 0;

  constructor(source: AsyncIterable<Buffer>) {
    this.#items = source[Symbol.asyncIterator]();
  }

  /** The next `length` bytes, fewer at the end, without taking them. */
  async head(length: number): Promise<Buffer> {
    let head = Buffer.concat(this.#back);
    while (head.length < length) {
      const next = await this.#items.next();
      if (next.done) break;
      head = Buffer.concat([head, next.value]);
    }
    this.#back = head.length > 0 ? [head] : [];
    return head;
  }

  async next(): Promise<Buffer | null> {
    const back = this.#back.shift();
    const piece = back ?? (await this.#items.next()).value ?? null;
    this.taken += piece?.length ?? 0;
    return piece;
  }

  putBack(piece: Buffer): void {
    this.taken -= piece.length;
    this.#back.unshift(piece);
  }

  async *pieces(): AsyncGenerator<Buffer> {
    for (let piece = await this.next(); piece !== null; piece = await this.next()) yield piece;
  }

  /** Not awaited: behind a piece that never comes it would wait for ever. */
  close(): void {
    this.#items.return?.().catch(() => {});
  }
}
