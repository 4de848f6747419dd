// Every error leaves as RFC 9457 problem+json with a stable code. What we did not expect says nothing of its inside.

import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { catalogue, type ErrorCode, RagmillError } from '../errors.ts';

export const problemSchema = Type.Object(
  {
    type: Type.String({ description: 'Always `about:blank`: the code tells the kinds apart.' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'What is wrong, where, and what to do.' }),
    code: Type.String({ description: 'Stable; for programs.' }),
    request_id: Type.String(),
    errors: Type.Optional(
      Type.Array(Type.Object({ line: Type.Integer(), code: Type.String(), message: Type.String() }), {
        description: 'The first 100 bad lines of an upload.',
      }),
    ),
  },
  { $id: 'Problem', title: 'Problem' },
);

/** Where waiting helps. */
const RETRY_AFTER_SECONDS: Partial<Record<ErrorCode, number>> = {
  collection_busy: 5,
  idempotency_key_running: 2,
  retrieval_unavailable: 5,
  shutting_down: 5,
  storage_full: 60,
  storage_limit: 60,
  storage_unavailable: 5,
  too_many_uploads: 5,
};

/** For the schemas of routes. */
export const problemRef = Type.Ref('Problem#');

const CLIENT_ERRORS: Readonly<Record<string, readonly [number, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'The headers did not come in time.'],
  HPE_HEADER_OVERFLOW: [431, 'The headers are too large.'],
};

/** For what is no HTTP request at all: there is nobody to answer it but the connection itself. */
export function answerClientError(error: Error & { readonly code?: string }, socket: Socket): void {
  const [status, detail] = CLIENT_ERRORS[error.code ?? ''] ?? [400, 'This is no HTTP request.'];
  const problem = JSON.stringify({
    type: 'about:blank',
    title: catalogue.bad_request.title,
    status,
    detail,
    code: 'bad_request',
    request_id: '',
  });
  // Where something was sent already it may be half an answer, and this would become its other half.
  if (socket.bytesWritten > 0) {
    socket.destroy();
    return;
  }
  if (socket.writable) {
    socket.write(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\n` +
        `content-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(problem)}\r\n\r\n${problem}`,
    );
  }
  socket.destroySoon();
}

export function registerProblems(app: FastifyInstance): void {
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const known = toRagmillError(error);
    if (known.status >= 500) request.log.error({ err: error }, 'request failed');
    return sendProblem(request, reply, known);
  });
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      request,
      reply,
      new RagmillError(
        'not_found',
        `${request.method} ${request.url.split('?')[0]} is not served; see /docs.`,
      ),
    ),
  );
}

export function sendProblem(request: FastifyRequest, reply: FastifyReply, error: RagmillError) {
  const problem = {
    type: 'about:blank',
    title: error.title,
    status: error.status,
    detail: error.message,
    code: error.code,
    request_id: request.id,
    ...(error.lines.length > 0 ? { errors: error.lines } : {}),
  };
  const seconds = retryAfterSeconds(error);
  if (seconds !== null) reply.header('retry-after', String(seconds));
  return reply.code(error.status).type('application/problem+json').serializer(JSON.stringify).send(problem);
}

/** When the same request may succeed; null: not by waiting. */
export function retryAfterSeconds(error: RagmillError): number | null {
  return (error.mayPass ? RETRY_AFTER_SECONDS[error.code] : undefined) ?? null;
}

/** Any error in our words. What we did not expect tells nothing of its inside. */
export function toRagmillError(error: FastifyError | Error): RagmillError {
  if (error instanceof RagmillError && error.code !== 'internal_error') return error;
  return translate(error as FastifyError);
}

/** Fastify's own errors. */
function translate(error: FastifyError): RagmillError {
  if (error.validation) {
    return new RagmillError('invalid_option', describeValidation(error), { cause: error });
  }
  if (error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new RagmillError(
      'unsupported_media_type',
      'Send JSONL with "Content-Type: application/x-ndjson", or a form with a part named "file".',
      { cause: error },
    );
  }
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new RagmillError('too_large', error.message, { cause: error });
  }
  const status = error.statusCode ?? 500;
  if (status >= 400 && status < 500)
    return new RagmillError('bad_request', `${error.message}.`, { cause: error });
  return new RagmillError(
    'internal_error',
    'Something unexpected happened; the log has it under the request_id.',
    {
      cause: error,
    },
  );
}

function describeValidation(error: FastifyError): string {
  const problems = (error.validation ?? []).map(({ instancePath, message, params }) => {
    const name = instancePath.slice(1).replaceAll('/', '.');
    if ('additionalProperty' in params) return `"${params.additionalProperty}" is not known`;
    const allowed = Array.isArray(params.allowedValues) ? `: ${params.allowedValues.join(', ')}` : '';
    return `${name === '' ? 'it' : `"${name}"`} ${message}${allowed}`;
  });
  return `In the ${error.validationContext ?? 'request'}: ${problems.join('; ')}.`;
}
