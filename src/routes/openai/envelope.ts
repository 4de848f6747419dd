// How errors leave under /v1: in OpenAI's envelope, so that its clients raise the errors that they would there.

import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { RagmillError } from '../../errors.ts';
import { retryAfterSeconds, toRagmillError } from '../problem.ts';

export const envelopeSchema = Type.Object(
  {
    error: Type.Object({
      message: Type.String({ description: 'What is wrong, where, and what to do.' }),
      type: Type.Enum(['invalid_request_error', 'rate_limit_error', 'server_error']),
      param: Type.Union([Type.String(), Type.Null()], {
        description: 'The field that is wrong, if it is one.',
      }),
      code: Type.Union([Type.String(), Type.Null()]),
    }),
  },
  { $id: 'OpenaiError', title: 'OpenaiError' },
);

/** For the schemas of routes. */
export const envelopeRef = Type.Ref('OpenaiError#');

export const REQUEST_ID_HEADER = 'x-request-id';

/** Asked for again a moment later, these are refused again: OpenAI's clients would try. */
const NOT_WORTH_RETRYING = 409;

/** A file or batch that is not there: OpenAI has no code for it. */
const NOT_FOUND = 404;

const UNSUPPORTED_FORM = 'Send a form ("multipart/form-data") with the fields "purpose" and "file".';

export function registerEnvelopes(scope: FastifyInstance): void {
  scope.addHook('onRequest', async (request, reply) => {
    reply.header(REQUEST_ID_HEADER, request.id);
  });
  scope.setErrorHandler((error: FastifyError, request, reply) => {
    const known = toRagmillError(error);
    if (known.status >= 500) request.log.error({ err: error }, 'request failed');
    return sendEnvelope(request, reply, { error: known, param: known.param ?? paramOf(error) });
  });
  scope.setNotFoundHandler((request, reply) => {
    const text = `Unknown request URL: ${request.method} ${request.url.split('?')[0]}. See /docs.`;
    return sendEnvelope(request, reply, { error: new RagmillError('not_found', text), param: null });
  });
}

export function sendEnvelope(
  request: FastifyRequest,
  reply: FastifyReply,
  { error, param }: { readonly error: RagmillError; readonly param: string | null },
) {
  const { status } = error;
  const seconds = retryAfterSeconds(error);
  if (seconds !== null) reply.header('retry-after', String(seconds));
  if (status === NOT_WORTH_RETRYING) reply.header('x-should-retry', 'false');
  const message = error.code === 'unsupported_media_type' ? UNSUPPORTED_FORM : error.message;
  const body = { message, type: typeOf(status), param, code: codeOf(error) };
  return reply
    .header(REQUEST_ID_HEADER, request.id)
    .code(status)
    .type('application/json')
    .serializer(JSON.stringify)
    .send({ error: body });
}

function typeOf(status: number) {
  if (status >= 500) return 'server_error';
  return status === 429 ? 'rate_limit_error' : 'invalid_request_error';
}

function codeOf(error: RagmillError): string | null {
  if (error.status !== NOT_FOUND) return error.code;
  return error.param === 'model' ? 'model_not_found' : null;
}

/** The field that the check of a request found wrong first. */
function paramOf({ validation }: FastifyError): string | null {
  const [first] = validation ?? [];
  if (first === undefined) return null;
  const path = first.instancePath.slice(1).replaceAll('/', '.');
  const { missingProperty, additionalProperty } = first.params;
  const name = missingProperty ?? additionalProperty;
  if (typeof name !== 'string') return path === '' ? null : path;
  return path === '' ? name : `${path}.${name}`;
}
