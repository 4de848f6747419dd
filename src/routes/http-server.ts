// The HTTP face: one Fastify instance with every route, its documentation and its guards.

import { randomBytes } from 'node:crypto';
import multipart from '@fastify/multipart';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import fastify, {
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import { registerAccessGuard } from './access-guard.ts';
import { registerLifecycle } from './batch-lifecycle.ts';
import { batchSchema } from './batch-object.ts';
import { registerBatches } from './batches.ts';
import { registerCollection } from './collection.ts';
import { registerEndpoints } from './endpoints.ts';
import { registerEvents } from './events.ts';
import { registerHealth } from './health.ts';
import { registerLines } from './lines.ts';
import { envelopeSchema, sendEnvelope } from './openai/envelope.ts';
import { OPENAI_PREFIX, registerOpenai } from './openai/face.ts';
import { fileSchema } from './openai/file-object.ts';
import {
  answerClientError,
  problemSchema,
  registerProblems,
  sendProblem,
  toRagmillError,
} from './problem.ts';
import { registerResults } from './results.ts';
import { registerSearch } from './search.ts';
import type { Services } from './services.ts';
import { registerUpload } from './upload-route.ts';

export interface HttpServerOptions {
  readonly services: Services;
  readonly version: string;
  readonly log: FastifyBaseLogger;
  /** true when the service listens on loopback only: then no web page may drive it. */
  readonly isLoopback: boolean;
}

/** Above the idle timeout of the usual load balancers, so that it is they who close first. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;

/** The longest option is a system prompt of 65,536 characters. */
const FIELD_BYTES_MAX = 256 * 1024;

export async function createHttpServer(options: HttpServerOptions): Promise<FastifyInstance> {
  const app = fastify({
    loggerInstance: options.log,
    // What a client quotes is found in one log only, whatever has started since.
    genReqId: () => `req_${randomBytes(12).toString('hex')}`,
    logController: new LogController({ disableRequestLogging: true }),
    frameworkErrors: answerBadUrl,
    clientErrorHandler: answerClientError,
    routerOptions: { maxParamLength: 1024 },
    // A HEAD of a stream must not run it.
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    // While connections close, whoever still asks gets a real answer: readiness says why, uploads are refused by name.
    return503OnClosing: false,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    // requestTimeout stays 0: a body may take its time (see upload-pace.ts). Headers may not: Node's own
    // headersTimeout of a minute is in force.
    // An unknown option is a mistake to be told, not to be dropped.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: true, allErrors: true } },
  });
  registerRequestLog(app);
  registerProblems(app);
  if (options.isLoopback) registerAccessGuard(app);
  await registerDocumentation(app, options.version);
  // Sizes are bounded where lines are read, for forms and plain bodies alike.
  await app.register(multipart, {
    limits: { fileSize: Number.POSITIVE_INFINITY, files: 2, fields: 64, fieldSize: FIELD_BYTES_MAX },
  });
  app.addSchema(batchSchema);
  app.addSchema(problemSchema);
  app.addSchema(fileSchema);
  app.addSchema(envelopeSchema);
  registerUpload(app, options.services);
  registerBatches(app, options.services);
  registerLifecycle(app, options.services);
  registerLines(app, options.services);
  registerResults(app, options.services);
  registerEvents(app, options.services);
  registerEndpoints(app, options.services);
  registerCollection(app, options.services);
  registerSearch(app, options.services);
  registerHealth(app, options.services);
  registerOpenai(app, options.services);
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
  return app;
}

/** For what fails before there is a route: a URL that cannot be decoded. */
function answerBadUrl(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const known = toRagmillError(error);
  if (request.url.startsWith(`${OPENAI_PREFIX}/`))
    sendEnvelope(request, reply, { error: known, param: null });
  else sendProblem(request, reply, known);
}

/** One line for each change a client asks for; reading and probing are loud only when debugging. */
function registerRequestLog(app: FastifyInstance): void {
  app.addHook('onResponse', async (request, reply) => {
    const level = request.method === 'GET' || request.method === 'HEAD' ? 'debug' : 'info';
    const { method, url, ip } = request;
    const durationMs = Math.round(reply.elapsedTime);
    request.log[level]({ method, url, ip, status: reply.statusCode, durationMs }, 'request');
  });
}

async function registerDocumentation(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'ragmill',
        version,
        description: 'Batch retrieval-augmented generation over whole files of questions.',
      },
      tags: [
        { name: 'batches', description: 'Uploads, and the work on them' },
        { name: 'collection', description: 'What questions are answered from' },
        { name: 'openai', description: "Files, batches and models as OpenAI's clients ask for them" },
        { name: 'operation', description: 'Probes and metrics' },
      ],
    },
    transformObject: (document) => {
      if ('swaggerObject' in document) return document.swaggerObject;
      markOptional(document.openapiObject.paths);
      return document.openapiObject;
    },
    refResolver: {
      buildLocalReference: (schema, _baseUri, _fragment, index) => String(schema.$id ?? `schema-${index}`),
    },
  });
  await app.register(swaggerUi, { routePrefix: '/docs' });
}

/** To the check of a request, what has a default is always there; a client need not send it. */
function markOptional(paths: object = {}): void {
  for (const operation of Object.values(paths).flatMap((path: object) => Object.values(path))) {
    for (const parameter of (operation as Operation).parameters ?? []) {
      if (parameter.schema.default !== undefined) parameter.required = false;
    }
  }
}

interface Operation {
  readonly parameters?: readonly { required: boolean; readonly schema: { readonly default?: unknown } }[];
}
