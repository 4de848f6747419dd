// POST /batches?dry_run=true: what an upload would do and cost. Nothing is stored.

import type { FastifyRequest } from 'fastify';
import { type Static, Type } from 'typebox';
import { overlayBatchOptions, toWireOptions } from '../scheduler/option-schema.ts';
import { UploadDryRun } from '../scheduler/upload-estimate.ts';
import { batchSchema } from './batch-object.ts';
import type { Services } from './services.ts';
import { readBody } from './upload-body.ts';
import { parseMetadata, type UploadQuery, wireOptionsOf } from './upload-options.ts';

export const dryRunSchema = Type.Object(
  {
    object: Type.Literal('dry_run'),
    would_be_accepted: Type.Boolean({
      description: 'Whether these lines with these options would become a batch.',
    }),
    lines: Type.Object({ total: Type.Integer(), valid: Type.Integer(), invalid: Type.Integer() }),
    errors: Type.Array(Type.Object({ line: Type.Integer(), code: Type.String(), message: Type.String() }), {
      description: 'The first 100 lines that cannot be run.',
    }),
    estimated: Type.Object({
      prompt_tokens: Type.Integer({
        description: 'At four bytes a token, with passages of full size: rather too many than too few.',
      }),
      max_completion_tokens: Type.Integer({ description: 'If every answer were as long as `max_tokens`.' }),
      seconds: Type.Union([Type.Integer(), Type.Null()], {
        description: 'At the rate of the last 30 seconds; null: nothing to go by.',
      }),
    }),
    options: batchSchema.properties.options,
    metadata: batchSchema.properties.metadata,
  },
  { title: 'DryRun' },
);

export async function dryRun(
  request: FastifyRequest,
  services: Services,
  signal: AbortSignal,
): Promise<Static<typeof dryRunSchema>> {
  const { defaultOptions: defaults, uploadLimits: limits, estimateBasis } = services;
  const upload = new UploadDryRun({ limits, defaults, ...estimateBasis() });
  const fields = await readBody(request, signal, (file) => upload.receive(file));
  const { metadata, dry_run: _, ...given } = { ...(request.query as UploadQuery), ...fields };
  const options = overlayBatchOptions(defaults, wireOptionsOf(given));
  const found = upload.estimate(options);
  return {
    object: 'dry_run',
    would_be_accepted: found.wouldBeAccepted,
    lines: { ...found.lines },
    errors: [...found.problems],
    estimated: {
      prompt_tokens: found.promptTokens,
      max_completion_tokens: found.maxCompletionTokens,
      seconds: found.seconds,
    },
    options: toWireOptions(options),
    metadata: parseMetadata(metadata),
  };
}
