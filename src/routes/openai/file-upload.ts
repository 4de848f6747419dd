// POST /v1/files: a file on its way into the store, piece by piece. What stands in it is looked at when a batch is made
// of it, and not before.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { RagmillError } from '../../errors.ts';
import { toRagmillError } from '../problem.ts';
import type { Services } from '../services.ts';
import { brokenOff, checkHeaders } from '../upload-body.ts';
import { watchPace } from '../upload-pace.ts';
import { envelopeRef } from './envelope.ts';
import { fileRef, toFileObject } from './file-object.ts';
import { storeFile } from './file-storing.ts';
import { LIFE_SECONDS_MAX, LIFE_SECONDS_MIN } from './lifetime.ts';

const DESCRIPTION = `A form with the fields \`purpose=batch\` and \`file\`, whose name ends in \`.jsonl\`; and, if it is
not to be kept for as long as this service keeps files, \`expires_after[anchor]=created_at\` and
\`expires_after[seconds]\`. Its lines are checked when a batch is made of it.`;

const schema = {
  summary: 'Upload a file',
  description: DESCRIPTION,
  tags: ['openai'],
  consumes: ['multipart/form-data'],
  response: {
    200: { description: 'Stored: it survives any crash from here on.', ...fileRef },
    ...Object.fromEntries([400, 408, 413, 415, 429, 503, 507].map((status) => [status, envelopeRef])),
  },
};

/** For the documentation alone: a form is read part by part, and is never a value to be checked. */
const form = {
  type: 'object',
  required: ['file', 'purpose'],
  properties: {
    file: { type: 'string', format: 'binary' },
    purpose: { type: 'string', enum: ['batch'] },
    'expires_after[anchor]': { type: 'string', enum: ['created_at'] },
    'expires_after[seconds]': { type: 'integer', minimum: LIFE_SECONDS_MIN, maximum: LIFE_SECONDS_MAX },
  },
};
const swaggerTransform = ({ url }: { readonly url: string }) => ({ schema: { ...schema, body: form }, url });

export function registerFileUpload(face: FastifyInstance, services: Services): void {
  face.register((scope, _options, done) => {
    // Whatever is no form is refused by name, unread.
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
    scope.post('/files', { schema, config: { swaggerTransform } }, async (request, reply) => {
      try {
        return await answer(request, services);
      } catch (error) {
        throw refused(error, { request, reply, services });
      }
    });
    done();
  });
}

async function answer(request: FastifyRequest, services: Services) {
  if (services.draining.aborted) {
    throw new RagmillError('shutting_down', 'The service is stopping; send it again.');
  }
  if (!request.isMultipart()) throw new RagmillError('unsupported_media_type', 'It is no form.');
  checkHeaders(request, services.uploadLimits.maxBatchBytes);
  using _place = services.uploadAdmission.enter();
  using pace = watchPace(request.raw, services.clock);
  return toFileObject(await storeFile(request, services, pace.signal));
}

function refused(
  error: unknown,
  {
    request,
    reply,
    services,
  }: { readonly request: FastifyRequest; readonly reply: FastifyReply; readonly services: Services },
): RagmillError {
  // The rest of the body is not worth reading, so the connection cannot be used again.
  reply.header('connection', 'close');
  const known = toRagmillError(brokenOff(request, error));
  services.metrics.uploadsRejected.inc({ code: known.code });
  return known;
}
