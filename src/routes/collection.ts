// The collection as the API shows it, its reset, and a look at what retrieval finds.

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import type { LiveCollection } from '../chroma/live-collection.ts';
import { RagmillError } from '../errors.ts';
import { acceptJsonBody } from './bodies.ts';
import { problemRef } from './problem.ts';
import type { Services } from './services.ts';

const nullableText = Type.Union([Type.String(), Type.Null()]);
const nullableCount = Type.Union([Type.Integer(), Type.Null()]);

const collectionSchema = Type.Object({
  name: Type.String(),
  state: Type.Enum(['starting', 'ready', 'resetting', 'healing', 'outage'], {
    description:
      'resetting: a new build is being made, questions go to the one in use; healing: the collection is gone or ' +
      'damaged and is being built again, questions wait; outage: retrieval does not work, questions wait.',
  }),
  waiting_for: Type.Union([Type.String(), Type.Null()], { description: 'Why questions wait now.' }),
  generation: Type.Union([Type.Integer(), Type.Null()], {
    description: 'Build in use; null before the first READY.',
  }),
  uuid: nullableText,
  count: Type.Union([Type.Integer(), Type.Null()], { description: 'Chunks in it.' }),
  fingerprint: Type.Union([Type.String(), Type.Null()], {
    description: 'Of corpus, embedder and chunking: equal fingerprints, equal collections.',
  }),
  ready_at: nullableCount,
  dimensions: nullableCount,
  progress: Type.Union([Type.Object({ done: Type.Integer(), total: Type.Integer() }), Type.Null()], {
    description: 'Chunks, while a build is being filled.',
  }),
  corpus: Type.Union(
    [
      Type.Object({
        documents: Type.Integer(),
        chunks: Type.Integer(),
        skipped: Type.Record(Type.String(), Type.Integer(), {
          description: 'Files and lines passed over, by reason.',
        }),
        unsupported: Type.Record(Type.String(), Type.Integer(), {
          description: 'Files of kinds that are not read.',
        }),
        problems: Type.Array(
          Type.Object({
            file: Type.String(),
            line: nullableCount,
            reason: Type.String(),
            message: Type.String(),
          }),
          { description: 'The first hundred of those skipped.' },
        ),
      }),
      Type.Null(),
    ],
    { description: 'What the last reading of the corpus found; null: it was not read to its end.' },
  ),
  last_error: Type.Union([Type.String(), Type.Null()], {
    description: 'Why the last build failed, if it did.',
  }),
});

const resetSchema = Type.Object(
  {
    confirm: Type.String({ description: 'The name of the collection.' }),
    unfinished_batches: Type.Optional(
      Type.Enum(['continue', 'pause'], {
        description:
          'Needed while there are unfinished batches. `continue`: their lines use the build in use until the new one is ' +
          'READY, and the new one from then on. `pause`: they are paused first, and go on when they are resumed.',
      }),
    ),
  },
  { additionalProperties: false },
);

const tags = ['collection'];
const RESET_BODY_BYTES = 4096;

export function registerCollection(app: FastifyInstance, services: Services): void {
  app
    .withTypeProvider<TypeBoxTypeProvider>()
    .get(
      '/collection',
      { schema: { summary: 'The collection', tags, response: { 200: collectionSchema } } },
      async () => toCollectionObject(services),
    );
  app.register((scope, _options, done) => {
    acceptJsonBody(scope, RESET_BODY_BYTES);
    registerReset(scope, services);
    done();
  });
}

function registerReset(scope: FastifyInstance, services: Services): void {
  scope.withTypeProvider<TypeBoxTypeProvider>().post(
    '/collection/reset',
    {
      schema: {
        summary: 'Build the collection anew from the corpus',
        description:
          'Answers at once; GET /collection tells how far it is. Until the new build is READY, questions go to the one in use.',
        tags,
        body: resetSchema,
        response: { 202: collectionSchema, 400: problemRef, 409: problemRef, 503: problemRef },
      },
    },
    async (request, reply) => {
      const live = liveOf(services);
      const { name } = live.current.record;
      if (request.body.confirm !== name) {
        throw new RagmillError('invalid_option', `"confirm" must be the name of the collection, "${name}".`);
      }
      // Refused before anything is asked for, and before any batch is paused.
      live.requireResettable();
      const how = request.body.unfinished_batches;
      const unfinished = await unfinishedBatches(services, how);
      await live.reset(async () => {
        if (how === 'pause') await Promise.all(unfinished.map((id) => services.scheduler.pause(id)));
      });
      return reply.code(202).send(toCollectionObject(services));
    },
  );
}

/** Throws `collection_busy` when nobody has said how unfinished batches go on. */
async function unfinishedBatches(
  services: Services,
  how: 'continue' | 'pause' | undefined,
): Promise<readonly string[]> {
  const unfinished = await services.store.unfinishedBatches();
  if (unfinished.length > 0 && how === undefined) {
    throw new RagmillError(
      'collection_busy',
      `${unfinished.length} batches are unfinished, ${unfinished[0]} first. Say how they go on: "unfinished_batches":"continue" or "pause".`,
      { mayPass: false },
    );
  }
  return unfinished;
}

/** Throws `retrieval_unavailable` before the first READY. */
export function liveOf({ collection }: Services): LiveCollection {
  if (collection.live) return collection.live;
  throw new RagmillError(
    'retrieval_unavailable',
    `The collection is not ready: waiting for ${collection.waitingFor}.`,
  );
}

function toCollectionObject({ collection }: Services): Static<typeof collectionSchema> {
  const { live, bootstrapState, waitingFor } = collection;
  const report = collection.corpus?.report ?? null;
  const current = live?.current;
  return {
    name: collection.name,
    state: stateOf(live),
    waiting_for: waitingFor,
    generation: current?.record.generation ?? null,
    uuid: current?.record.uuid ?? null,
    count: current?.record.count ?? null,
    fingerprint: current?.record.fingerprint ?? null,
    ready_at: current?.record.readyAt ?? null,
    dimensions: current?.embedder.dimensions ?? null,
    progress:
      bootstrapState?.phase === 'filling' ? { done: bootstrapState.done, total: bootstrapState.total } : null,
    corpus: report && { ...report, skipped: { ...report.skipped }, problems: [...report.problems] },
    last_error: bootstrapState?.phase === 'failed' ? bootstrapState.error.message : null,
  };
}

function stateOf(live: LiveCollection | null): Static<typeof collectionSchema>['state'] {
  if (live === null) return 'starting';
  if (live.outage) return 'outage';
  if (live.isHealing) return 'healing';
  return live.isResetting ? 'resetting' : 'ready';
}
