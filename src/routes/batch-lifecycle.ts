// Steering a batch: pause, resume, cancel, retry, delete.

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import type { Batch } from '../domain/batch.ts';
import { endingOf, isTerminal } from '../domain/batch-status.ts';
import { RagmillError } from '../errors.ts';
import type { RetryFilter } from '../store/store.ts';
import { batchRef, toBatchObject } from './batch-object.ts';
import { batchParams, found } from './batches.ts';
import { acceptAnyBody, acceptJsonBody } from './bodies.ts';
import { problemRef } from './problem.ts';
import type { Services } from './services.ts';

/** Most ids that one retry names. */
const CUSTOM_IDS_MAX = 10_000;
const RETRY_BODY_BYTES = 4 * 1024 * 1024;

const retrySchema = Type.Object(
  {
    status: Type.Optional(
      Type.Array(Type.Enum(['succeeded', 'failed', 'cancelled', 'expired']), {
        minItems: 1,
        description: 'Lines whose current result has one of these; default: all but `succeeded`.',
      }),
    ),
    code: Type.Optional(Type.String({ minLength: 1, description: 'Lines that failed with this code.' })),
    endpoint: Type.Optional(Type.String({ minLength: 1, description: 'Lines that this endpoint had last.' })),
    custom_ids: Type.Optional(
      Type.Array(Type.String(), { minItems: 1, maxItems: CUSTOM_IDS_MAX, description: 'These lines.' }),
    ),
  },
  { additionalProperties: false, description: 'All conditions given must hold.' },
);

const problems = { 404: problemRef, 409: problemRef, 410: problemRef };
const oneBatch = { tags: ['batches'], params: batchParams, response: { 200: batchRef, ...problems } };

export function registerLifecycle(app: FastifyInstance, services: Services): void {
  app.register((scope, _options, done) => {
    acceptAnyBody(scope);
    registerCommands(scope, services);
    registerDelete(scope, services);
    done();
  });
  app.register((scope, _options, done) => {
    registerRetry(scope, services);
    done();
  });
}

function registerCommands(scope: FastifyInstance, services: Services): void {
  const { scheduler } = services;
  const commands = [
    {
      name: 'pause',
      summary: 'Pause a batch',
      description: 'Started lines finish, nothing new starts. Pausing again changes nothing.',
      run: (id: string) => scheduler.pause(id),
      leadsTo: ['paused'],
    },
    {
      name: 'resume',
      summary: 'Resume a paused batch',
      description: 'A batch that runs goes on running.',
      run: (id: string) => scheduler.resume(id),
      leadsTo: ['in_progress'],
    },
    {
      name: 'cancel',
      summary: 'Cancel a batch',
      description: 'Finished lines stay, running ones are aborted. Cancelling again changes nothing.',
      run: (id: string) => scheduler.cancel(id),
      leadsTo: ['cancelling', 'cancelled'],
    },
  ];
  for (const { name, summary, description, run, leadsTo } of commands) {
    const schema = { ...oneBatch, summary, description };
    scope
      .withTypeProvider<TypeBoxTypeProvider>()
      .post(`/batches/:id/${name}`, { schema }, async (request) => {
        const { id } = request.params;
        const batch = await found(await run(id), id, services.store);
        // A batch that is neither has been changed again meanwhile: this command had its effect.
        const isEnding = isTerminal(batch.status) || endingOf(batch.status) !== null;
        if ((isEnding || batch.status === 'validating') && !leadsTo.includes(batch.status))
          throw refusal(name, batch);
        return toBatchObject(batch, services);
      });
  }
}

function registerDelete(scope: FastifyInstance, services: Services): void {
  const schema = {
    ...oneBatch,
    summary: 'Delete a batch that has ended',
    description: 'Its lines and results are gone at once, and their disk space is given back.',
    response: { 204: Type.Null({ description: 'Deleted.' }), ...problems },
  };
  scope.withTypeProvider<TypeBoxTypeProvider>().delete('/batches/:id', { schema }, async (request, reply) => {
    const { id } = request.params;
    const result = await services.store.deleteBatch(id);
    if (result === 'not_finished') {
      throw new RagmillError(
        'batch_not_finished',
        `The batch ${id} has not ended. Cancel it first, or wait for its end.`,
      );
    }
    if (result === null) await found(null, id, services.store);
    return reply.code(204).send(null);
  });
}

function registerRetry(scope: FastifyInstance, services: Services): void {
  // Whatever a client calls it (curl -d says it is a form), a body here is JSON.
  acceptJsonBody(scope, RETRY_BODY_BYTES);
  scope.addHook('preValidation', async (request) => {
    request.body ??= {};
  });
  const schema = {
    ...oneBatch,
    summary: 'Run lines of an ended batch again',
    description: `Without a body: all lines that did not succeed. Lines whose input is bad never run. The new results
are appended to the log; one that takes the place of an earlier one names it in \`replaces\`.`,
    body: retrySchema,
    response: { ...oneBatch.response, 400: problemRef },
  };
  scope.withTypeProvider<TypeBoxTypeProvider>().post('/batches/:id/retry', { schema }, async (request) => {
    const { id } = request.params;
    const before = await found(await services.store.getBatch(id), id, services.store);
    if (!isTerminal(before.status)) {
      const hint =
        before.status === 'paused' ? 'Resume or cancel it first.' : 'Wait for its end, or cancel it.';
      throw new RagmillError('batch_not_finished', `The batch ${id} has not ended. ${hint}`);
    }
    const batch = await services.scheduler.retry(id, toFilter(request.body));
    return toBatchObject(await found(batch, id, services.store), services);
  });
}

function toFilter(wire: Static<typeof retrySchema>): RetryFilter {
  const isNarrow = wire.code !== undefined || wire.endpoint !== undefined || wire.custom_ids !== undefined;
  return {
    // Who names lines otherwise means all of them, succeeded ones included.
    statuses:
      wire.status ??
      (isNarrow ? ['succeeded', 'failed', 'cancelled', 'expired'] : ['failed', 'cancelled', 'expired']),
    code: wire.code ?? null,
    endpoint: wire.endpoint ?? null,
    customIds: wire.custom_ids ?? null,
  };
}

function refusal(command: string, batch: Batch): RagmillError {
  if (batch.status === 'validating') {
    return new RagmillError(
      'batch_validating',
      `The lines of ${batch.id} are still being checked; ${command} it when it runs, or cancel it.`,
    );
  }
  if (isTerminal(batch.status)) {
    return new RagmillError(
      'batch_finished',
      `The batch ${batch.id} is ${batch.status}; it cannot ${command} any more.`,
    );
  }
  return new RagmillError('batch_finished', `The batch ${batch.id} is ${batch.status}: it is about to end.`);
}
