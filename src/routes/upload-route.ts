// POST /batches: a JSONL file, as the body itself or as a part of a form, becomes a batch.

import type { Readable } from 'node:stream';
import type { MultipartFile } from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Static, Type } from 'typebox';
import type { Batch } from '../domain/batch.ts';
import { RagmillError } from '../errors.ts';
import { batchOptionSchema, overlayBatchOptions } from '../scheduler/option-schema.ts';
import { Upload } from '../scheduler/upload.ts';
import { batchRef, toBatchObject } from './batch-object.ts';
import { problemRef, toRagmillError } from './problem.ts';
import type { Services } from './services.ts';

const uploadOptionSchema = Type.Object(
  {
    ...batchOptionSchema.properties,
    metadata: Type.Optional(
      Type.String({ description: 'A JSON object of strings, echoed in the batch: {"team":"search"}' }),
    ),
  },
  { additionalProperties: false },
);
type UploadOptions = Static<typeof uploadOptionSchema>;

const NDJSON_TYPES = ['application/x-ndjson', 'application/jsonl'];

export function registerUpload(app: FastifyInstance, services: Services): void {
  // Fastify's own parsers would read a whole upload into memory before it is refused.
  app.removeContentTypeParser(['application/json', 'text/plain']);
  // The stream itself is the parsed body: an upload is never held in memory.
  app.addContentTypeParser(NDJSON_TYPES, (_request, payload, done) => done(null, payload));

  app.post(
    '/batches',
    {
      schema: {
        summary: 'Upload a batch',
        description: DESCRIPTION,
        tags: ['batches'],
        consumes: [...NDJSON_TYPES, 'multipart/form-data'],
        querystring: uploadOptionSchema,
        response: {
          201: { description: 'Stored: it survives any crash from here on.', ...batchRef },
          ...Object.fromEntries([400, 413, 415, 422, 503, 507].map((status) => [status, problemRef])),
        },
      },
    },
    async (request, reply) => {
      try {
        const batch = await receive(request, services);
        services.metrics.batches.inc({ status: 'created' });
        services.scheduler.nudge();
        return reply
          .code(201)
          .header('location', `/batches/${batch.id}`)
          .send(toBatchObject(batch, services));
      } catch (error) {
        // The rest of the body is not worth reading, so the connection cannot be used again.
        reply.header('connection', 'close');
        const refused = toRagmillError(brokenOff(request, error));
        services.metrics.uploadsRejected.inc({ code: refused.code });
        throw refused;
      }
    },
  );
}

const DESCRIPTION = `One JSON object a line: \`{"custom_id":"q1","query":"…"}\`, or an OpenAI batch line. A line that
cannot be run does not spoil the batch: it becomes a failed result (see \`on_invalid\`). In a form, the file is the
part named \`file\` and the options are fields.`;

async function receive(request: FastifyRequest, services: Services): Promise<Batch> {
  if (services.draining.aborted)
    throw new RagmillError('shutting_down', 'The service is stopping; send it again.');
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') {
    throw new RagmillError(
      'unsupported_media_type',
      `The content encoding "${encoding}" is not supported; send it plain.`,
    );
  }
  const given = request.query as UploadOptions;
  const upload = await Upload.begin(services.store, services.uploadLimits, services.defaultOptions);
  try {
    const fields = request.isMultipart()
      ? await receiveForm(request, upload)
      : await upload.receive(bodyOf(request)).then(() => ({}));
    const { metadata, ...options } = { ...given, ...fields };
    return await upload.commit(
      overlayBatchOptions(services.defaultOptions, options),
      parseMetadata(metadata),
    );
  } catch (error) {
    await upload.abandon();
    throw error;
  }
}

function bodyOf(request: FastifyRequest): Readable {
  if (request.body === undefined || request.body === null) {
    throw new RagmillError('empty_upload', 'The request has no body. Send one JSON object a line.');
  }
  return request.body as Readable;
}

const FILE_AS_FIELD =
  'The part "file" is a field, not a file: give it a file name (curl -F file=@questions.jsonl).';

const NO_BOUNDARY =
  "The form's content type names no boundary: let the client set it (curl -F, without a Content-Type of your own).";

/** Fields may stand before or after the file. */
async function receiveForm(request: FastifyRequest, upload: Upload): Promise<UploadOptions> {
  // A client that is gone already would never be noticed: the parser hears only what happens from now on.
  if (request.raw.destroyed) throw new Error('the client has gone');
  if (!/;\s*boundary=/i.test(request.headers['content-type'] ?? ''))
    throw new RagmillError('bad_request', NO_BOUNDARY);
  const fields: Record<string, unknown> = {};
  let hasFile = false;
  for await (const part of request.parts()) {
    if (part.type === 'field' && part.fieldname === 'file')
      throw new RagmillError('bad_request', FILE_AS_FIELD);
    if (part.type === 'field') fields[part.fieldname] = part.value;
    else {
      checkFilePart(part, hasFile);
      hasFile = true;
      await upload.receive(part.file);
    }
  }
  if (!hasFile) throw new RagmillError('bad_request', 'The form has no part named "file".');
  const validate = request.compileValidationSchema(uploadOptionSchema, 'body');
  if (!validate(fields)) {
    const validation = validate.errors ?? [];
    throw Object.assign(new Error('invalid form fields'), { validation, validationContext: 'form' });
  }
  return fields as UploadOptions;
}

function checkFilePart(part: MultipartFile, hasFile: boolean): void {
  if (part.fieldname !== 'file') {
    throw new RagmillError(
      'bad_request',
      `The form has a file in "${part.fieldname}"; the file's part must be named "file".`,
    );
  }
  if (hasFile) throw new RagmillError('bad_request', 'The form has two files; a batch is made of one.');
}

/** At most 16 pairs of strings, as OpenAI's batches have them. */
function parseMetadata(text: string | undefined): Record<string, string> | null {
  if (text === undefined) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RagmillError('invalid_option', '"metadata" must be JSON: an object of strings.');
  }
  const isFlat = typeof value === 'object' && value !== null && !Array.isArray(value);
  const pairs = isFlat ? Object.entries(value as object) : [];
  const isValid = isFlat && pairs.length <= 16 && pairs.every(([key, item]) => isPair(key, item));
  if (!isValid) {
    throw new RagmillError(
      'invalid_option',
      '"metadata" must be an object of at most 16 strings, with keys up to 64 and values up to 512 characters.',
    );
  }
  return Object.fromEntries(pairs);
}

function isPair(key: string, value: unknown): boolean {
  return key.length <= 64 && typeof value === 'string' && value.length <= 512;
}

/** A body that ends before its time is the client's doing, whatever it is called underneath. */
function brokenOff(request: FastifyRequest, error: unknown): Error {
  if (error instanceof RagmillError || (error instanceof Error && 'validation' in error)) return error;
  const isCut = !request.raw.complete || isFormError(error);
  if (!isCut) return error instanceof Error ? error : new Error(String(error));
  return new RagmillError('upload_incomplete', 'The upload broke off; nothing was stored. Send it again.', {
    cause: error,
  });
}

function isFormError(error: unknown): boolean {
  return error instanceof Error && /unexpected end of (form|multipart data)/i.test(error.message);
}
