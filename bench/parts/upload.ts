// Uploads that are made while they are sent.

import { once } from 'node:events';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { setImmediate as turn } from 'node:timers/promises';

export type UploadForm = 'raw' | 'multipart';

const BOUNDARY = 'ragmill-bench-boundary';
const FORM_HEAD = `--${BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="questions.jsonl"\r\ncontent-type: application/x-ndjson\r\n\r\n`;
const FORM_TAIL = `\r\n--${BOUNDARY}--\r\n`;

export interface UploadRequest {
  readonly form: UploadForm;
  readonly pieces: Iterable<Buffer> | AsyncIterable<Buffer>;
  /** Options of the batch, as in a URL behind its question mark. */
  readonly query?: string;
  /** Breaks it off. */
  readonly signal?: AbortSignal;
}

/** Uploads the pieces as one batch and answers its id. Throws what the service said when it refuses. */
export async function upload(
  serviceUrl: string,
  { form, pieces, query = '', signal }: UploadRequest,
): Promise<string> {
  const type = form === 'raw' ? 'application/x-ndjson' : `multipart/form-data; boundary=${BOUNDARY}`;
  const post = request(`${serviceUrl}/batches?${query}`, {
    method: 'POST',
    headers: { 'content-type': type },
    ...(signal ? { signal } : {}),
  });
  const answered = once(post, 'response');
  if (form === 'multipart') post.write(FORM_HEAD);
  for await (const piece of pieces) {
    // A turn of the loop in between, or a refusal would not be heard before the last piece.
    await (post.write(piece) ? turn() : Promise.race([once(post, 'drain'), answered]));
    if (post.destroyed) break;
  }
  post.end(form === 'multipart' ? FORM_TAIL : '');
  const [response] = await answered;
  const body = await text(response);
  if (response.statusCode !== 201) throw new Error(`the upload was refused: ${body}`);
  return String(JSON.parse(body).id);
}
