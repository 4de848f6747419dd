// The results of a finished batch as a thing that stays: it has a tag, and the plain log can be had in parts.
//
// (F1) The bytes under a tag never change: the tag names the last seq and the view, and nothing beyond is sent.

import type { FastifyRequest } from 'fastify';
import type { Store } from '../store/store.ts';
import { type ByteRange, hasAlready, isRangeWelcome, selectRange } from './byte-range.ts';
import type { LiveHead } from './live-response.ts';
import { isPlain, type ResultView } from './result-query.ts';

export interface FinishedAnswer extends LiveHead {
  /** Where the stream begins, in place of the cursor asked for. */
  readonly after: number;
  /** Which bytes of the stream from there on are sent; null: all, however many there are. */
  readonly window: { readonly skip: number; readonly length: number } | null;
}

interface FinishedBatch {
  readonly id: string;
  readonly lastSeq: number;
}

export async function answerFinished(
  store: Store,
  batch: FinishedBatch,
  view: ResultView,
  request: FastifyRequest,
): Promise<FinishedAnswer> {
  const etag = tagOf(batch.lastSeq, view);
  const headers = { etag, 'cache-control': 'private, no-cache', vary: 'accept' };
  const whole = { headers, after: view.after, window: null };
  if (hasAlready(request.headers['if-none-match'], etag)) return { ...whole, status: 304 };
  if (!isPlain(view)) return { ...whole, status: 200 };

  const { bytes: end } = await store.logEnd(batch.id, batch.lastSeq);
  const { bytes: before } = await store.logEnd(batch.id, Math.min(view.after, batch.lastSeq));
  const size = end - before;
  const range = rangeOf(request, etag, size);
  if (range === 'unsatisfiable')
    return { ...whole, headers: { 'content-range': `bytes */${size}` }, status: 416 };
  const ranged = { ...headers, 'accept-ranges': 'bytes' };
  if (range === 'whole') {
    return { ...whole, headers: { ...ranged, 'content-length': size }, status: 200 };
  }
  const { first, last } = range;
  const { seq, startOffset } = await store.seekLog(batch.id, before + first);
  const length = last - first + 1;
  const part = { 'content-length': length, 'content-range': `bytes ${first}-${last}/${size}` };
  return {
    status: 206,
    headers: { ...ranged, ...part },
    after: seq - 1,
    window: { skip: before + first - startOffset, length },
  };
}

/** The bytes of a window out of a stream; it ends when the window does, wherever the stream is then. */
export async function* cut<End>(
  pieces: AsyncGenerator<Buffer, End>,
  window: { readonly skip: number; readonly length: number },
): AsyncGenerator<Buffer, void> {
  let skip = window.skip;
  let left = window.length;
  try {
    while (left > 0) {
      const { done, value } = await pieces.next();
      if (done) return;
      const wanted = value.subarray(skip, skip + left);
      skip = Math.max(0, skip - value.length);
      left -= wanted.length;
      if (wanted.length > 0) yield wanted;
    }
  } finally {
    await pieces.return(undefined as never);
  }
}

function tagOf(lastSeq: number, { after, order, status, currentOnly, include }: ResultView): string {
  const view = [order, status ?? 'all', currentOnly ? 'current' : 'plain', ...[...include].sort()];
  return `"${[lastSeq, after, ...view].join('.')}"`;
}

function rangeOf(request: FastifyRequest, etag: string, size: number): ByteRange | 'whole' | 'unsatisfiable' {
  const { range, 'if-range': ifRange } = request.headers;
  // A range is defined for GET alone.
  if (request.method !== 'GET' || !isRangeWelcome(ifRange?.toString(), etag)) return 'whole';
  return selectRange(range, size);
}
