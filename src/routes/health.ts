// Probes and metrics. Liveness depends on nothing; readiness says why not.

import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { Services } from './services.ts';

const readinessSchema = Type.Object({
  status: Type.Enum(['ready', 'not_ready']),
  reasons: Type.Array(Type.String()),
  degraded: Type.Array(Type.String()),
  collection_generation: Type.Union([Type.Integer(), Type.Null()]),
});

export function registerHealth(app: FastifyInstance, services: Services): void {
  const tags = ['operation'];
  const aliveSchema = Type.Object({ status: Type.Literal('alive') });

  app.get(
    '/livez',
    { schema: { summary: 'Liveness', tags, response: { 200: aliveSchema } }, logLevel: 'warn' },
    async () => ({ status: 'alive' }),
  );

  app.get(
    '/readyz',
    {
      schema: { summary: 'Readiness', tags, response: { 200: readinessSchema, 503: readinessSchema } },
      logLevel: 'warn',
    },
    async (_request, reply) => {
      const { isReady, reasons, degraded, collectionGeneration } = services.readiness();
      return reply.code(isReady ? 200 : 503).send({
        status: isReady ? 'ready' : 'not_ready',
        reasons: [...reasons],
        degraded: [...degraded],
        collection_generation: collectionGeneration,
      });
    },
  );

  app.get(
    '/metrics',
    { schema: { summary: 'Prometheus metrics', tags, produces: ['text/plain'] }, logLevel: 'warn' },
    async (_request, reply) => {
      const { registry } = services.metrics;
      await services.beforeScrape();
      return reply.type(registry.contentType).send(await registry.metrics());
    },
  );
}
