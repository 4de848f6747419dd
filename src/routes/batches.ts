// Listing and showing batches.

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { Batch } from '../domain/batch.ts';
import { RagmillError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import { batchRef, toBatchObject } from './batch-object.ts';
import { listOf, listSchema } from './list.ts';
import { problemRef } from './problem.ts';
import type { Services } from './services.ts';

export const batchParams = Type.Object({
  id: Type.String({ description: 'The batch id, such as batch_1f…' }),
});

export const batchListQuery = Type.Object(
  {
    after: Type.Optional(Type.String({ description: 'Id of the last batch of the page before.' })),
    limit: Type.Integer({ minimum: 1, maximum: 100, default: 20 }),
  },
  { additionalProperties: false },
);

export const batchList = listSchema(batchRef);

export function registerBatches(app: FastifyInstance, services: Services): void {
  const routes = app.withTypeProvider<TypeBoxTypeProvider>();
  routes.get(
    '/batches',
    {
      schema: {
        summary: 'List batches, newest first',
        tags: ['batches'],
        querystring: batchListQuery,
        response: { 200: batchList, 404: problemRef },
      },
    },
    async (request) => {
      const { after, limit } = request.query;
      const { batches, hasMore } = await services.store.listBatches({ after: after ?? null, limit });
      return listOf(
        batches.map((batch) => toBatchObject(batch, services)),
        hasMore,
      );
    },
  );

  const oneBatch = {
    tags: ['batches'],
    params: batchParams,
    response: { 200: batchRef, 404: problemRef, 410: problemRef },
  };

  routes.get('/batches/:id', { schema: { ...oneBatch, summary: 'One batch' } }, async (request) => {
    const { id } = request.params;
    return toBatchObject(await found(await services.store.getBatch(id), id, services.store), services);
  });
}

/** The batch, or why it is not there. */
export async function found(
  batch: Batch | null,
  id: string,
  store: Pick<Store, 'wasDeleted'>,
): Promise<Batch> {
  if (batch) return batch;
  if (await store.wasDeleted(id)) throw new RagmillError('batch_deleted', `The batch ${id} was deleted.`);
  throw new RagmillError('batch_not_found', `No batch has the id ${id}.`);
}
