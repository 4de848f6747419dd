// Batches as OpenAI has them: made of a file, listed, shown and cancelled.

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import type { Batch } from '../../domain/batch.ts';
import { isTerminal } from '../../domain/batch-status.ts';
import { RagmillError } from '../../errors.ts';
import { newBatchId } from '../../scheduler/upload.ts';
import { batchRef, toBatchObject } from '../batch-object.ts';
import { batchList, batchListQuery, batchParams } from '../batches.ts';
import { acceptAnyBody, acceptJsonBody } from '../bodies.ts';
import { listOf } from '../list.ts';
import type { Services } from '../services.ts';
import { type BatchBody, batchBodySchema, readBatchBody } from './batch-body.ts';
import { optionsOf } from './batch-options.ts';
import { envelopeRef } from './envelope.ts';

/** The longest options are a system prompt and a template of 65,536 characters each. */
const BODY_BYTES = 2 * 1024 * 1024;

const tags = ['openai'];
const oneBatch = { tags, params: batchParams };

export function registerOpenaiBatches(face: FastifyInstance, services: Services): void {
  registerReading(face, services);
  face.register((scope, _options, done) => {
    acceptJsonBody(scope, BODY_BYTES);
    registerCreation(scope, services);
    done();
  });
  face.register((scope, _options, done) => {
    acceptAnyBody(scope);
    registerCancel(scope, services);
    done();
  });
}

function registerReading(scope: FastifyInstance, services: Services): void {
  const routes = scope.withTypeProvider<TypeBoxTypeProvider>();
  routes.get(
    '/batches',
    {
      schema: {
        summary: 'List batches, newest first',
        tags,
        querystring: batchListQuery,
        response: { 200: batchList, 400: envelopeRef, 404: envelopeRef },
      },
    },
    async ({ query: { after, limit } }) => {
      const { batches, hasMore } = await listBatches({ after: after ?? null, limit }, services);
      return listOf(
        batches.map((batch) => toOpenaiBatch(batch, services)),
        hasMore,
      );
    },
  );
  const response = { 200: batchRef, 404: envelopeRef };
  routes.get('/batches/:id', { schema: { ...oneBatch, summary: 'One batch', response } }, async (request) => {
    const { id } = request.params;
    return toOpenaiBatch(foundBatch(await services.store.getBatch(id), id), services);
  });
}

function registerCreation(scope: FastifyInstance, services: Services): void {
  const schema = {
    summary: 'Make a batch of a file',
    description: `The batch is \`validating\` until all lines of the file are checked. One line that is wrong and it has
\`failed\`: see its \`errors\`.`,
    tags,
    body: batchBodySchema,
    response: {
      200: batchRef,
      ...Object.fromEntries([400, 404, 413, 503, 507].map((status) => [status, envelopeRef])),
    },
  };
  // The body is checked by hand: Fastify would make a text of a number.
  const validatorCompiler = () => () => true;
  scope.post('/batches', { schema, validatorCompiler }, async (request) => {
    if (services.draining.aborted) {
      throw new RagmillError('shutting_down', 'The service is stopping; send it again.');
    }
    const batch = await create(readBatchBody(request.body), services);
    services.metrics.batches.inc({ status: 'created' });
    services.fileCheck.nudge();
    return toOpenaiBatch(batch, services);
  });
}

function registerCancel(scope: FastifyInstance, services: Services): void {
  const schema = {
    ...oneBatch,
    summary: 'Cancel a batch',
    description: 'Finished lines stay, running ones are aborted.',
    response: { 200: batchRef, 404: envelopeRef, 409: envelopeRef },
  };
  const routes = scope.withTypeProvider<TypeBoxTypeProvider>();
  routes.post('/batches/:id/cancel', { schema }, async ({ params: { id } }) => {
    const before = foundBatch(await services.store.getBatch(id), id);
    const batch = isTerminal(before.status) ? before : foundBatch(await services.scheduler.cancel(id), id);
    const isTooLate = isTerminal(before.status) || !['cancelling', 'cancelled'].includes(batch.status);
    if (isTooLate) {
      throw new RagmillError('batch_finished', `Cannot cancel a batch with status '${batch.status}'.`);
    }
    return toOpenaiBatch(batch, services);
  });
}

async function create(body: BatchBody, services: Services): Promise<Batch> {
  const { store, defaultOptions, checkUploadRoom } = services;
  const { input_file_id: inputFileId, endpoint, metadata, output_expires_after: life } = body;
  const options = optionsOf(body, defaultOptions);
  const file = await store.getFile(inputFileId);
  if (file === null) throw noInputFile(inputFileId);
  if (file.purpose !== 'batch') {
    throw new RagmillError(
      'bad_request',
      `The file '${inputFileId}' has the purpose '${file.purpose}'; a batch is made of one with the purpose 'batch'.`,
      { param: 'input_file_id' },
    );
  }
  await checkUploadRoom();
  const id = newBatchId();
  const outputLifeSeconds = life?.seconds ?? null;
  try {
    return await store.createFileBatch(id, {
      inputFileId,
      endpoint,
      options,
      metadata: metadata ?? null,
      outputLifeSeconds,
    });
  } catch (error) {
    // Deleted between the two looks.
    if (error instanceof RagmillError && error.code === 'file_not_found') throw noInputFile(inputFileId);
    throw error;
  }
}

async function listBatches(
  page: { readonly after: string | null; readonly limit: number },
  { store }: Services,
) {
  try {
    return await store.listBatches(page);
  } catch (error) {
    if (!(error instanceof RagmillError && error.code === 'batch_not_found')) throw error;
    throw noBatch(String(page.after), 'after');
  }
}

/** As on the native face, but for a status that OpenAI's clients do not know. */
function toOpenaiBatch(batch: Batch, services: Services) {
  const shown = toBatchObject(batch, services);
  return shown.status === 'paused' ? { ...shown, status: 'in_progress' as const } : shown;
}

function foundBatch(batch: Batch | null, id: string): Batch {
  if (batch) return batch;
  throw noBatch(id);
}

function noBatch(id: string, param?: string): RagmillError {
  return new RagmillError(
    'batch_not_found',
    `No batch found with id '${id}'.`,
    param === undefined ? {} : { param },
  );
}

function noInputFile(id: string): RagmillError {
  return new RagmillError('file_not_found', `No such File object: ${id}`, { param: 'input_file_id' });
}
