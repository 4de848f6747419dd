// GET /batches/:id/events: the progress of a batch, for those who show it.

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { isTerminal } from '../domain/batch-status.ts';
import { batchParams, found } from './batches.ts';
import { sendLive } from './live-response.ts';
import { problemRef } from './problem.ts';
import { endId, streamProgress } from './progress-stream.ts';
import { pump } from './pump.ts';
import { EVENT_KEEP_ALIVE_MS, eventKeepAlive, eventOpening } from './server-sent-events.ts';
import type { Services } from './services.ts';

const schema = {
  summary: 'Progress, as events',
  description: `Server-sent events: \`progress\` at once and then on every change, at most one a second; \`end\` when
the batch has ended, and then the stream ends.`,
  tags: ['batches'],
  params: batchParams,
  headers: Type.Object({
    'last-event-id': Type.Optional(
      Type.String({ description: 'What a browser sends when it connects again.' }),
    ),
  }),
  response: {
    200: { description: 'The events', content: { 'text/event-stream': { schema: Type.String() } } },
    204: Type.Null({ description: 'The batch has ended, and you were told' }),
    404: problemRef,
    410: problemRef,
  },
};

const HEAD = {
  status: 200,
  headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
};

export function registerEvents(app: FastifyInstance, services: Services): void {
  app
    .withTypeProvider<TypeBoxTypeProvider>()
    .get('/batches/:id/events', { schema }, async (request, reply) => {
      const { id } = request.params;
      const { store, clock } = services;
      const batch = await found(await store.getBatch(id), id, store);
      const hasSeenEnd = request.headers['last-event-id'] === endId(batch.lastSeq);
      if (hasSeenEnd && isTerminal(batch.status)) return reply.code(204).send(null);
      return sendLive({ request, reply }, HEAD, services, async (response) => {
        await response.write(eventOpening);
        const keepAlive = { bytes: eventKeepAlive, afterMs: EVENT_KEEP_ALIVE_MS, clock };
        await pump(response, streamProgress(services, id, response.signal), keepAlive);
      });
    });
}
