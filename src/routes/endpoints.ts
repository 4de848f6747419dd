// The pool as the API shows it, and the taking out of an endpoint by hand.

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { type Static, type TSchema, Type } from 'typebox';
import { CALL_STAGES } from '../domain/call-stage.ts';
import { SERVER_KINDS } from '../domain/server-kind.ts';
import { RagmillError } from '../errors.ts';
import type { Endpoint } from '../gpu-pool/endpoint.ts';
import { ENDPOINT_STATES, stateOf } from '../gpu-pool/endpoint-state.ts';
import type { GpuPool } from '../gpu-pool/gpu-pool.ts';
import { acceptAnyBody } from './bodies.ts';
import { problemRef } from './problem.ts';
import type { Services } from './services.ts';

const nullable = <T extends TSchema>(type: T) => Type.Union([type, Type.Null()]);

const endpointSchema = Type.Object({
  name: Type.String(),
  url: Type.String(),
  kind: Type.Union([Type.Enum([...SERVER_KINDS]), Type.Null()], { description: 'null: not found out yet.' }),
  state: Type.Enum([...ENDPOINT_STATES], {
    description:
      'absent: nobody has answered there; trial: it is back, and a completion of our own has to prove it; draining, ' +
      'drained: taken out by hand.',
  }),
  roles: Type.Array(Type.Enum([...CALL_STAGES]), {
    description: '`rag`: it writes digests (`rag_mode=digest`); `generation`: it answers.',
  }),
  reason: Type.Union([Type.String(), Type.Null()], { description: 'Why it gets no lines now.' }),
  breaker: Type.Enum(['closed', 'open', 'half_open']),
  window: Type.Integer({ description: 'Requests that it may have in flight now.' }),
  in_flight: Type.Integer(),
  waiting: Type.Integer({ description: 'At its gate, not sent yet.' }),
  models: Type.Array(Type.String(), { description: 'Its chat models.' }),
  default_model: nullable(Type.String()),
  context_tokens: Type.Union([Type.Integer(), Type.Null()], {
    description: 'Prompt and answer together, of its default model, as far as the server tells.',
  }),
  max_running: Type.Union([Type.Integer(), Type.Null()], {
    description: 'Requests that it can run at once, as far as the server tells.',
  }),
  kv_capacity_tokens: nullable(Type.Integer()),
  server_load: Type.Union([Type.Object({ running: Type.Integer(), waiting: Type.Integer() }), Type.Null()]),
  requests: Type.Object(
    {
      success: Type.Integer(),
      hard: Type.Integer(),
      overload: Type.Integer(),
      misconfigured: Type.Integer(),
      request: Type.Integer(),
      ambiguous: Type.Integer(),
      cancelled: Type.Integer(),
    },
    { description: 'By how they ended, since the start.' },
  ),
  mean_duration_ms: nullable(Type.Integer()),
});

const poolSchema = Type.Object({
  data: Type.Array(endpointSchema),
  gpus: Type.Object({
    count: nullable(Type.Integer()),
    source: Type.String({ description: 'What told the number of GPUs.' }),
  }),
  missing: Type.Integer({ description: 'Model servers that should be there and are not.' }),
  waiting_for: Type.Union([Type.String(), Type.Null()], { description: 'Why nothing can be generated now.' }),
});

const tags = ['operation'];
const endpointParams = Type.Object({ name: Type.String() });

export function registerEndpoints(app: FastifyInstance, services: Services): void {
  app
    .withTypeProvider<TypeBoxTypeProvider>()
    .get(
      '/endpoints',
      { schema: { summary: 'The model servers', tags, response: { 200: poolSchema } } },
      async () => {
        const { pool } = services;
        return {
          data: pool.known.map(toEndpointObject),
          gpus: { ...pool.gpus },
          missing: pool.missing,
          waiting_for: pool.waitingFor('generation', null),
        };
      },
    );
  app.register((scope, _options, done) => {
    acceptAnyBody(scope);
    registerDraining(scope, services);
    done();
  });
}

function registerDraining(scope: FastifyInstance, { pool }: Services): void {
  for (const [action, summary] of [
    ['drain', 'Send an endpoint nothing more; what runs there ends'],
    ['resume', 'Send lines to a drained endpoint again'],
  ] as const) {
    const response = { 200: endpointSchema, 404: problemRef };
    scope
      .withTypeProvider<TypeBoxTypeProvider>()
      .post(
        `/endpoints/:name/${action}`,
        { schema: { summary, tags, params: endpointParams, response } },
        async (request) => {
          const endpoint = found(pool, request.params.name);
          endpoint.setDrained(action === 'drain');
          return toEndpointObject(endpoint);
        },
      );
  }
}

function found(pool: GpuPool, name: string): Endpoint {
  const endpoint = pool.find(name);
  if (endpoint) return endpoint;
  const names = pool.known.map((known) => known.name).join(', ');
  throw new RagmillError('endpoint_not_found', `There is no such endpoint. There are: ${names || 'none'}.`);
}

function toEndpointObject(endpoint: Endpoint): Static<typeof endpointSchema> {
  const { report, models, figures } = endpoint;
  const meanMs = figures.meanDurationMs;
  return {
    name: endpoint.name,
    url: endpoint.url,
    kind: endpoint.kind,
    state: stateOf(endpoint),
    roles: CALL_STAGES.filter((role) => endpoint.roles.has(role)),
    reason: endpoint.reason,
    breaker: endpoint.breakerState,
    window: endpoint.window,
    in_flight: endpoint.inFlight,
    waiting: endpoint.waiting,
    models: models.ids,
    default_model: models.default,
    context_tokens: models.default === null ? null : models.contextTokensOf(models.default),
    max_running: report?.maxRunning ?? null,
    kv_capacity_tokens: report?.kvCapacityTokens ?? null,
    server_load: report?.load ?? null,
    requests: { ...figures.requests },
    mean_duration_ms: meanMs === null ? null : Math.round(meanMs),
  };
}
