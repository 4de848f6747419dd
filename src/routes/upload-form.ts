// An upload as a form: the file is the part named "file", the options are fields before or behind it.

import type { Multipart, MultipartFile } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { RagmillError } from '../errors.ts';
import { interruptible } from './interruptible.ts';
import { type UploadFields, uploadFieldSchema } from './upload-options.ts';

const FILE_AS_FIELD =
  'The part "file" is a field, not a file: give it a file name (curl -F file=@questions.jsonl).';

const NO_BOUNDARY =
  "The form's content type names no boundary: let the client set it (curl -F, without a Content-Type of your own).";

const DRY_RUN_AS_FIELD = 'Whether it is a dry run must be known before the file: send dry_run in the URL.';

interface FormTakers {
  readonly file: (file: AsyncIterable<Buffer>, filename: string) => Promise<void>;
  /** Throws for a field that must not be there, as soon as it comes. */
  readonly field: (name: string) => void;
}

/** Hands over the file, and answers the fields. Throws the signal's reason when it aborts. */
export async function readForm(
  request: FastifyRequest,
  signal: AbortSignal,
  takeFile: (file: AsyncIterable<Buffer>) => Promise<void>,
): Promise<UploadFields> {
  const fields = await readParts(request, signal, {
    file: takeFile,
    field: (name) => {
      if (name === 'dry_run') throw new RagmillError('invalid_option', DRY_RUN_AS_FIELD);
    },
  });
  const validate = request.compileValidationSchema(uploadFieldSchema, 'body');
  if (!validate(fields)) {
    const validation = validate.errors ?? [];
    throw Object.assign(new Error('invalid form fields'), { validation, validationContext: 'form' });
  }
  return fields as UploadFields;
}

/** The fields of any form with one file, as they came. */
export async function readParts(
  request: FastifyRequest,
  signal: AbortSignal,
  take: FormTakers,
): Promise<Record<string, unknown>> {
  // A client that is gone already would never be noticed: the parser hears only what happens from now on.
  if (request.raw.destroyed) throw new Error('the client has gone');
  if (!/;\s*boundary=/i.test(request.headers['content-type'] ?? '')) {
    throw new RagmillError('bad_request', NO_BOUNDARY);
  }
  const fields: Record<string, unknown> = {};
  let hasFile = false;
  for await (const part of interruptible<Multipart>(request.parts(), signal)) {
    if (part.type === 'field') {
      if (part.fieldname === 'file') throw new RagmillError('bad_request', FILE_AS_FIELD, { param: 'file' });
      take.field(part.fieldname);
      if (part.valueTruncated) {
        throw new RagmillError('invalid_option', `In the form: "${part.fieldname}" is too long.`);
      }
      fields[part.fieldname] = part.value;
    } else {
      checkFilePart(part, hasFile);
      hasFile = true;
      await take.file(interruptible<Buffer>(part.file, signal), part.filename);
    }
  }
  if (!hasFile)
    throw new RagmillError('bad_request', 'The form has no part named "file".', { param: 'file' });
  return fields;
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
