// GET /v1/models: the models that the endpoints serve now.

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { RagmillError } from '../../errors.ts';
import type { Endpoint } from '../../gpu-pool/endpoint.ts';
import type { Services } from '../services.ts';
import { envelopeRef } from './envelope.ts';

const modelSchema = Type.Object({
  id: Type.String(),
  object: Type.Literal('model'),
  created: Type.Integer({ description: 'When this service started, in Unix seconds.' }),
  owned_by: Type.String({ description: 'The kind of server that serves it.' }),
});

const modelList = Type.Object({ object: Type.Literal('list'), data: Type.Array(modelSchema) });

export function registerModels(scope: FastifyInstance, services: Services): void {
  const routes = scope.withTypeProvider<TypeBoxTypeProvider>();
  const tags = ['openai'];
  routes.get(
    '/models',
    { schema: { summary: 'List the models that are served now', tags, response: { 200: modelList } } },
    async () => ({ object: 'list' as const, data: servedModels(services) }),
  );

  routes.get(
    '/models/*',
    {
      schema: {
        summary: 'One model',
        tags,
        params: Type.Object({ '*': Type.String({ description: 'Its name, with or without slashes.' }) }),
        response: { 200: modelSchema, 404: envelopeRef },
      },
    },
    async (request) => {
      const name = request.params['*'];
      const model = servedModels(services).find(({ id }) => id === name);
      if (model) return model;
      throw new RagmillError('not_found', `The model '${name}' does not exist or is not served now.`, {
        param: 'model',
      });
    },
  );
}

/** Each once, however many endpoints serve it. */
function servedModels({ pool, startedAt: created }: Services): Static<typeof modelSchema>[] {
  const models = new Map<string, Static<typeof modelSchema>>();
  for (const endpoint of pool.endpoints) {
    if (endpoint.phase !== 'up') continue;
    const owned_by = endpoint.kind ?? 'generic';
    for (const id of modelsOf(endpoint)) {
      if (!models.has(id)) models.set(id, { id, object: 'model', created, owned_by });
    }
  }
  return [...models.values()];
}

/** Those that the server lists, for chats or not, and the one that the settings name for it. */
function modelsOf({ report, models }: Endpoint): string[] {
  const listed = report === null ? [] : [...report.models, ...report.otherModels].map(({ id }) => id);
  return models.default === null ? listed : [models.default, ...listed];
}
