// GET /batches/:id/results: the answers while they are made, as NDJSON or as server-sent events.

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { isTerminal } from '../domain/batch-status.ts';
import { prefersEventStream } from './accept.ts';
import { batchParams, found } from './batches.ts';
import { problemRef } from './problem.ts';
import { lastEventCursor, resultsQuery, toView } from './result-query.ts';
import type { ResultRequest } from './result-stream.ts';
import { ResultsSender } from './results-sender.ts';
import type { Services } from './services.ts';

const stream = (description: string) => ({
  description,
  content: {
    'application/x-ndjson': { schema: Type.String() },
    'text/event-stream': { schema: Type.String() },
  },
});

const schema = {
  summary: 'Results, as they are made',
  description: `One JSON object a line, each with its \`seq\`. To go on after a break, send the last seq as
\`after\`. The stream ends properly only after the batch's last result. Of a finished batch there are ETag, HEAD and,
for the plain log, byte ranges.`,
  tags: ['batches'],
  params: batchParams,
  querystring: resultsQuery,
  headers: Type.Object({
    'last-event-id': Type.Optional(
      Type.String({ description: 'With server-sent events: the cursor to go on from; wins over `after`.' }),
    ),
  }),
  response: {
    200: stream('The results'),
    204: Type.Null({ description: 'Server-sent events of a finished batch: there is no more to come' }),
    206: stream('A part of the plain log of a finished batch'),
    304: Type.Null({ description: 'A finished batch: what you have is what there is' }),
    400: problemRef,
    404: problemRef,
    410: problemRef,
    416: problemRef,
  },
};

export function registerResults(app: FastifyInstance, services: Services): void {
  const sender = new ResultsSender(services);
  app.withTypeProvider<TypeBoxTypeProvider>().route({
    // A HEAD has the headers of the GET, and runs no stream.
    method: ['GET', 'HEAD'],
    url: '/batches/:id/results',
    schema,
    handler: async (request, reply) => {
      const { store } = services;
      const { id } = request.params;
      const batch = await found(await store.getBatch(id), id, store);
      const { query, headers } = request;
      const isFinished = isTerminal(batch.status);
      const asEvents = prefersEventStream(headers.accept);
      const resumedFrom = asEvents ? lastEventCursor(headers['last-event-id']) : null;
      const results: ResultRequest = {
        ...toView(query, resumedFrom ?? query.after),
        batchId: batch.id,
        follow: query.follow,
        upToSeq: isFinished ? batch.lastSeq : null,
      };
      const asked = { request, reply, results, heartbeatSeconds: query.heartbeat ?? null };
      if (asEvents) return sender.sendEvents(asked, resumedFrom !== null);
      return isFinished ? sender.sendFinished(asked, batch) : sender.sendUnfinished(asked);
    },
  });
}
