// GET /batches/:id/results: the answers, as NDJSON, while they are made.

import { Readable } from 'node:stream';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { batchParams, found } from './batches.ts';
import { problemRef } from './problem.ts';
import { streamResults } from './result-stream.ts';
import type { Services } from './services.ts';

const resultsQuery = Type.Object(
  {
    after: Type.Integer({
      minimum: 0,
      default: 0,
      description: 'Results above this seq; with `order=input`, above this line number.',
    }),
    follow: Type.Boolean({
      default: true,
      description: '`true`: stay until the batch has ended; `false`: what is there now.',
    }),
    order: Type.Enum(['completion', 'input'], {
      default: 'completion',
      description: '`input`: by line number. Following, it waits at the first line without a result.',
    }),
    status: Type.Optional(
      Type.Enum(['succeeded', 'failed'], { description: '`failed`: everything that did not succeed.' }),
    ),
  },
  { additionalProperties: false },
);

export function registerResults(app: FastifyInstance, services: Services): void {
  app.withTypeProvider<TypeBoxTypeProvider>().get(
    '/batches/:id/results',
    {
      schema: {
        summary: 'Results, as they are made',
        description: `One JSON object a line, each with its \`seq\`. To go on after a break, send the last seq as
\`after\`. The stream ends properly only after the batch's last result.`,
        tags: ['batches'],
        params: batchParams,
        querystring: resultsQuery,
        produces: ['application/x-ndjson'],
        response: { 404: problemRef },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { status, ...query } = request.query;
      await found(await services.store.getBatch(id), id, services.store);
      const gone = new AbortController();
      reply.raw.once('close', () => gone.abort());
      const signal = AbortSignal.any([gone.signal, services.closing]);
      const pages = streamResults(services.store, { batchId: id, ...query, status: status ?? null }, signal);
      // nginx would hold answers back to fill its buffers.
      reply
        .header('x-accel-buffering', 'no')
        .header('cache-control', 'no-store')
        .type('application/x-ndjson');
      // The head goes out at once: a client must not wait for the first answer to know that it is being served.
      reply.raw.once('pipe', () => reply.raw.flushHeaders());
      return reply.send(Readable.from(counted(pages, services), { objectMode: false }));
    },
  );
}

async function* counted(pages: AsyncGenerator<Buffer>, services: Services): AsyncGenerator<Buffer> {
  services.metrics.resultStreams.inc();
  try {
    yield* pages;
  } finally {
    services.metrics.resultStreams.dec();
  }
}
