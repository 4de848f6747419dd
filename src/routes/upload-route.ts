// POST /batches: a JSONL file, as the body itself or as a part of a form, becomes a batch.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { RagmillError } from '../errors.ts';
import { batchRef, toBatchObject } from './batch-object.ts';
import { dryRun, dryRunSchema } from './dry-run.ts';
import { problemRef, toRagmillError } from './problem.ts';
import type { Services } from './services.ts';
import { brokenOff, checkHeaders } from './upload-body.ts';
import { ACCEPTED_ENCODINGS } from './upload-encoding.ts';
import { type UploadQuery, uploadQuerySchema } from './upload-options.ts';
import { watchPace } from './upload-pace.ts';
import { storeUpload } from './upload-storing.ts';

const NDJSON_TYPES = ['application/x-ndjson', 'application/jsonl'];

const DESCRIPTION = `One JSON object a line: \`{"custom_id":"q1","query":"…"}\`, or an OpenAI batch line. A line that
cannot be run does not spoil the batch: it becomes a failed result (see \`on_invalid\`). In a form, the file is the
part named \`file\` and the options are fields. The file may be compressed with gzip or zstd.`;

const schema = {
  summary: 'Upload a batch',
  description: DESCRIPTION,
  tags: ['batches'],
  consumes: [...NDJSON_TYPES, 'multipart/form-data'],
  querystring: uploadQuerySchema,
  headers: {
    type: 'object',
    properties: {
      'idempotency-key': {
        type: 'string',
        description:
          'The same request under the same key makes one batch, however often it is sent in a day.',
      },
    },
  },
  response: {
    200: { description: 'With `dry_run=true`: nothing is stored.', ...dryRunSchema },
    201: { description: 'Stored: it survives any crash from here on.', ...batchRef },
    ...Object.fromEntries(
      [400, 408, 409, 413, 415, 422, 429, 503, 507].map((status) => [status, problemRef]),
    ),
  },
};

export function registerUpload(app: FastifyInstance, services: Services): void {
  // Fastify's own parsers would read a whole upload into memory before it is refused.
  app.removeContentTypeParser(['application/json', 'text/plain']);
  // The stream itself is the parsed body: an upload is never held in memory.
  app.addContentTypeParser(NDJSON_TYPES, (_request, payload, done) => done(null, payload));

  app.post('/batches', { schema }, async (request, reply) => {
    try {
      return await answer(request, reply, services);
    } catch (error) {
      // The rest of the body is not worth reading, so the connection cannot be used again.
      reply.header('connection', 'close');
      const refused = toRagmillError(brokenOff(request, error));
      services.metrics.uploadsRejected.inc({ code: refused.code });
      if (refused.status === 415) reply.header('accept-encoding', ACCEPTED_ENCODINGS);
      throw refused;
    }
  });
}

async function answer(request: FastifyRequest, reply: FastifyReply, services: Services) {
  if (services.draining.aborted) {
    throw new RagmillError('shutting_down', 'The service is stopping; send it again.');
  }
  checkHeaders(request, services.uploadLimits.maxBatchBytes);
  using _place = services.uploadAdmission.enter();
  using pace = watchPace(request.raw, services.clock);
  if ((request.query as UploadQuery).dry_run) return dryRun(request, services, pace.signal);
  const { batch, isReplay } = await storeUpload(request, services, pace.signal);
  if (isReplay) reply.header('idempotency-replayed', 'true');
  else {
    services.metrics.batches.inc({ status: 'created' });
    services.scheduler.nudge();
  }
  return reply.code(201).header('location', `/batches/${batch.id}`).send(toBatchObject(batch, services));
}
