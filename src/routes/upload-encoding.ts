// How an upload is compressed: named by its header, or known by its first bytes.

import type { Transform } from 'node:stream';
import { constants, createGunzip, createZstdDecompress } from 'node:zlib';
import { RagmillError } from '../errors.ts';

export type UploadEncoding = 'gzip' | 'zstd';

/** Enough of a file to know its compression by. */
export const MAGIC_BYTES = 4;

/** What Accept-Encoding says beside a refusal. */
export const ACCEPTED_ENCODINGS = 'gzip, zstd';

const OUTPUT_BYTES = 64 * 1024;

/** 8 MiB: what a decoder has to bear with, and an encoder for HTTP may use. Source: RFC 9659. */
const ZSTD_WINDOW_LOG_MAX = 23;

/** null: none is named. Throws `unsupported_media_type`. */
export function namedEncoding(header: string | undefined): UploadEncoding | null {
  const name = header?.trim().toLowerCase() ?? '';
  if (name === '' || name === 'identity') return null;
  if (name === 'gzip' || name === 'x-gzip') return 'gzip';
  if (name === 'zstd') return 'zstd';
  throw new RagmillError(
    'unsupported_media_type',
    `The content encoding "${name}" is not supported: compress the file once, with gzip or zstd, or send it plain.`,
  );
}

/** By the first bytes of a file; no JSON begins like this. */
export function encodingOf(head: Buffer): UploadEncoding | null {
  if (head.length < MAGIC_BYTES) return null;
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  const magic = head.readUInt32LE(0);
  // A zstd file may begin with a skippable frame; pzstd's do. Source: RFC 8878, 3.1.
  const isZstd = magic === 0xfd2fb528 || (magic & 0xfffffff0) >>> 0 === 0x184d2a50;
  return isZstd ? 'zstd' : null;
}

/** `bytesWritten`: what it has taken of what was written to it. */
export type Decoder = Transform & { readonly bytesWritten: number };

export function createDecoder(encoding: UploadEncoding): Decoder {
  return encoding === 'gzip'
    ? createGunzip({ chunkSize: OUTPUT_BYTES })
    : createZstdDecompress({
        chunkSize: OUTPUT_BYTES,
        params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
      });
}

/** Whether the decoder itself has failed, and not what it reads from. */
export function isDecoderError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && /^Z(STD)?_/.test(String(error.code));
}

export function toEncodingError(
  encoding: UploadEncoding,
  error: Error & { readonly code: string },
): RagmillError {
  const isTooWide = error.code === 'ZSTD_error_frameParameter_windowTooLarge';
  const help = isTooWide
    ? 'its window is over 8 MiB. Compress it without --long and --ultra.'
    : `${error.message}. Nothing was stored.`;
  return new RagmillError('invalid_encoding', `The upload cannot be unpacked as ${encoding}: ${help}`, {
    cause: error,
  });
}
