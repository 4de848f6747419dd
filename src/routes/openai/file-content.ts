// GET /v1/files/{id}/content: the bytes of an uploaded file as they came, or what a batch has answered so far.

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { type ResultFileKind, resultFileOf, type StoredFile } from '../../domain/file.ts';
import { fileLine } from '../../scheduler/file-line.ts';
import type { Store } from '../../store/store.ts';
import { sendLive } from '../live-response.ts';
import { pump } from '../pump.ts';
import type { Services } from '../services.ts';
import { Turns } from '../turns.ts';
import { envelopeRef, REQUEST_ID_HEADER } from './envelope.ts';
import { fileParams, foundFile } from './files.ts';

const PAGE_RECORDS = 256;

const schema = {
  summary: 'The bytes of a file',
  description: 'The results of a batch can be read while it runs: then they are what is there so far.',
  tags: ['openai'],
  params: fileParams,
  produces: ['application/octet-stream'],
  response: { 200: Type.String({ format: 'binary' }), 404: envelopeRef },
};

export function registerFileContent(scope: FastifyInstance, services: Services): void {
  const { store, clock, closing, metrics } = services;
  /** One row for all readers. */
  const turns = new Turns();
  scope
    .withTypeProvider<TypeBoxTypeProvider>()
    .get('/files/:id/content', { schema }, async (request, reply) => {
      const { id } = request.params;
      const file = foundFile(await store.getFile(id), id);
      const results = resultFileOf(id);
      const headers = {
        'content-type': 'application/octet-stream',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
        [REQUEST_ID_HEADER]: request.id,
        // A file of results may grow while it is read.
        ...(results === null ? { 'content-length': file.bytes } : {}),
      };
      metrics.resultStreams.inc();
      try {
        return await sendLive(
          { request, reply },
          { status: 200, headers },
          { clock, closing },
          (response) => {
            const reading = { store, turns, signal: response.signal };
            const bytes = results === null ? uploadedBytes(file, reading) : resultBytes(results, reading);
            return pump(response, bytes, null);
          },
        );
      } finally {
        metrics.resultStreams.dec();
      }
    });
}

interface Reading {
  readonly store: Store;
  readonly turns: Turns;
  /** Aborted when nobody reads any more. */
  readonly signal: AbortSignal;
}

async function* uploadedBytes(
  file: StoredFile,
  { store, turns, signal }: Reading,
): AsyncGenerator<Buffer, void> {
  let sent = 0;
  for (let number = 0; sent < file.bytes; number += 1) {
    await turns.next();
    signal.throwIfAborted();
    const piece = await store.readFilePiece(file.id, number);
    if (piece === null) throw new Error('the file was deleted while it was read');
    sent += piece.length;
    yield piece;
  }
}

/** What is there when the reading begins, in whole lines, and a page more at most: a batch that runs cannot keep it going. */
async function* resultBytes(
  { batchId, kind }: { readonly batchId: string; readonly kind: ResultFileKind },
  { store, turns, signal }: Reading,
): AsyncGenerator<Buffer, void> {
  const batch = await store.getBatch(batchId);
  if (!batch) throw new Error('the batch was deleted while its results were read');
  for (let afterSeq = 0; ; ) {
    await turns.next();
    signal.throwIfAborted();
    const records = await store.readResponses(batchId, { kind, afterSeq, limit: PAGE_RECORDS });
    const last = records.at(-1);
    if (!last) return;
    afterSeq = last.seq;
    const lines = records.map(({ body, response }) => fileLine(JSON.parse(body), response, batch));
    // While the reader takes its time, the bytes are all that is kept of the page.
    yield Buffer.from(lines.join(''));
    if (afterSeq >= batch.lastSeq) return;
  }
}
