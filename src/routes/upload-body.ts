// The body of an upload, whichever way it comes: the file itself or a form around it, plain or compressed.

import type { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { RagmillError } from '../errors.ts';
import { interruptible } from './interruptible.ts';
import { decoded } from './upload-decoder.ts';
import { namedEncoding } from './upload-encoding.ts';
import { readForm } from './upload-form.ts';
import type { UploadFields } from './upload-options.ts';

/** What can be refused by its headers alone, before anything is read. */
export function checkHeaders(request: FastifyRequest, maxBytes: number): void {
  const encoding = namedEncoding(request.headers['content-encoding']);
  if (request.isMultipart()) {
    if (encoding === null) return;
    throw new RagmillError(
      'unsupported_media_type',
      'A form cannot be compressed as a whole: compress the file in it (curl -F file=@questions.jsonl.gz).',
    );
  }
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) {
    throw new RagmillError('too_large', `The upload is over ${maxBytes} bytes (MAX_BATCH_BYTES). Split it.`);
  }
}

/** Hands over the file, unpacked, and answers the options that came with it in a form. */
export async function readBody(
  request: FastifyRequest,
  signal: AbortSignal,
  takeFile: (file: AsyncIterable<Buffer>) => Promise<void>,
): Promise<UploadFields> {
  if (request.isMultipart()) return readForm(request, signal, (file) => takeFile(decoded(file, null)));
  if (request.body === undefined || request.body === null) {
    throw new RagmillError('empty_upload', 'The request has no body. Send one JSON object a line.');
  }
  const body = interruptible<Buffer>(request.body as Readable, signal);
  await takeFile(decoded(body, namedEncoding(request.headers['content-encoding'])));
  return {};
}

/** A body that ends before its time is the client's doing, whatever it is called underneath. */
export function brokenOff(request: FastifyRequest, error: unknown): Error {
  if (error instanceof RagmillError || (error instanceof Error && 'validation' in error)) return error;
  if (isFormRefused(error)) return error;
  const isCut = !request.raw.complete || isFormError(error);
  if (!isCut) return error instanceof Error ? error : new Error(String(error));
  return new RagmillError('upload_incomplete', 'The upload broke off; nothing was stored. Send it again.', {
    cause: error,
  });
}

/** The parser of forms has its own limits and rules. */
function isFormRefused(error: unknown): error is Error {
  if (!(error instanceof Error && 'code' in error && 'statusCode' in error)) return false;
  return error.code !== 'FST_MP_PREMATURE_CLOSE' && Number(error.statusCode) < 500;
}

function isFormError(error: unknown): boolean {
  return error instanceof Error && /unexpected end of (form|multipart data)/i.test(error.message);
}
