// What the RAG stage would find for a question, without a batch and without a model.

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import type { RetrievalOutcome } from '../domain/passage.ts';
import { whereProblem } from '../domain/where.ts';
import { RagmillError } from '../errors.ts';
import { requestOptionSchema } from '../scheduler/option-schema.ts';
import { acceptJsonBody } from './bodies.ts';
import { liveOf } from './collection.ts';
import { problemRef } from './problem.ts';
import type { Services } from './services.ts';

const { top_k, max_distance, where } = requestOptionSchema.properties;

const searchSchema = Type.Object(
  { query: Type.String({ minLength: 1, pattern: '\\S' }), top_k, max_distance, where },
  { additionalProperties: false },
);

const foundSchema = Type.Object({
  status: Type.Enum(['success', 'soft_failure'], { description: 'soft_failure: nothing was found.' }),
  collection_generation: Type.Integer(),
  passages: Type.Array(
    Type.Object({
      id: Type.String({ description: 'The document.' }),
      chunk: Type.Integer({ description: 'Its part, from 0.' }),
      distance: Type.Number(),
      title: Type.Union([Type.String(), Type.Null()]),
      source: Type.Union([Type.String(), Type.Null()]),
      text: Type.String(),
    }),
  ),
  code: Type.Union([Type.String(), Type.Null()]),
  message: Type.Union([Type.String(), Type.Null()], { description: 'Why nothing was found.' }),
});

const BODY_BYTES_MAX = 1024 * 1024;
/** A search gives up before the clients and balancers in front of it do. */
const SEARCH_TIMEOUT_MS = 20_000;

export function registerSearch(app: FastifyInstance, services: Services): void {
  app.register((scope, _options, done) => {
    acceptJsonBody(scope, BODY_BYTES_MAX);
    registerRoute(scope, services);
    done();
  });
}

function registerRoute(scope: FastifyInstance, services: Services): void {
  scope.withTypeProvider<TypeBoxTypeProvider>().post(
    '/search',
    {
      schema: {
        summary: 'Search the collection',
        description: 'The passages that a line with this question would get.',
        tags: ['collection'],
        body: searchSchema,
        response: { 200: foundSchema, 400: problemRef, 503: problemRef },
      },
    },
    async (request) => toFound(await search(request.body, services)),
  );
}

async function search(body: Static<typeof searchSchema>, services: Services): Promise<RetrievalOutcome> {
  const live = liveOf(services);
  const problem = body.where === undefined ? null : whereProblem(body.where);
  if (problem !== null) throw new RagmillError('invalid_option', `"where" ${problem}.`);
  // Lines can wait for an outage to pass; somebody at a screen cannot.
  if (live.outage) throw unavailable(live.outage.message);
  const { topK, maxDistance } = services.defaultOptions;
  const wish = {
    topK: body.top_k ?? topK,
    maxDistance: body.max_distance ?? maxDistance,
    where: body.where ?? null,
  };
  const signal = AbortSignal.any([AbortSignal.timeout(SEARCH_TIMEOUT_MS), services.draining]);
  try {
    return await live.retrieve(body.query, wish, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    if (services.draining.aborted) throw services.draining.reason;
    throw unavailable(services.collection.waitingFor ?? 'it took too long');
  }
}

function toFound(outcome: RetrievalOutcome): Static<typeof foundSchema> {
  if (outcome.kind === 'hard_failure') throw hardProblem(outcome);
  const { kind: status, collectionGeneration: collection_generation } = outcome;
  if (outcome.kind === 'soft_failure') {
    const { code, message } = outcome;
    return { status, collection_generation, passages: [], code, message };
  }
  const passages = outcome.passages.map(({ documentId: id, ...passage }) => ({ id, ...passage }));
  return { status, collection_generation, passages, code: null, message: null };
}

function hardProblem({ code, message }: { readonly code: string; readonly message: string }): RagmillError {
  if (code !== 'rag_rejected') return unavailable(message);
  return new RagmillError('invalid_option', `Chroma refuses this search: ${message}. See "where".`);
}

function unavailable(reason: string): RagmillError {
  return new RagmillError(
    'retrieval_unavailable',
    `Retrieval does not answer now: ${reason}. Try again later.`,
  );
}
