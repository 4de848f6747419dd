// An upload that is to be stored, at most once for each Idempotency-Key.

import type { FastifyRequest } from 'fastify';
import type { Batch } from '../domain/batch.ts';
import { RagmillError } from '../errors.ts';
import { overlayBatchOptions } from '../scheduler/option-schema.ts';
import { Upload } from '../scheduler/upload.ts';
import { UploadMeter } from '../scheduler/upload-meter.ts';
import type { UploadStart } from '../store/store.ts';
import { found } from './batches.ts';
import type { Services } from './services.ts';
import { readBody } from './upload-body.ts';
import { idempotencyKeyOf, parseMetadata, type UploadQuery, wireOptionsOf } from './upload-options.ts';

interface Stored {
  readonly batch: Batch;
  /** The batch was there already: the same request came before. */
  readonly isReplay: boolean;
}

export async function storeUpload(
  request: FastifyRequest,
  services: Services,
  signal: AbortSignal,
): Promise<Stored> {
  const key = idempotencyKeyOf(request.headers['idempotency-key']);
  const { store, uploadLimits: limits, defaultOptions: defaults, checkUploadRoom: checkRoom } = services;
  const upload = await Upload.begin({ store, limits, checkRoom }, key);
  if (!(upload instanceof Upload)) return replay(request, services, { signal, earlier: upload });
  try {
    const given = await readGiven(request, signal, (file) => upload.receive(file));
    const { metadata, ...wire } = given;
    const options = overlayBatchOptions(defaults, wireOptionsOf(wire));
    const batch = await upload.commit({ options, metadata: parseMetadata(metadata), given });
    return { batch, isReplay: false };
  } catch (error) {
    await upload.abandon();
    throw error;
  }
}

/** The key is taken: by an upload under way, by the same request, or by another one. */
async function replay(
  request: FastifyRequest,
  services: Services,
  { signal, earlier }: { signal: AbortSignal; earlier: Exclude<UploadStart, { kind: 'begun' }> },
): Promise<Stored> {
  if (earlier.kind === 'running') {
    throw new RagmillError(
      'idempotency_key_running',
      'An upload with this Idempotency-Key is still under way. Send it again in a moment.',
    );
  }
  const meter = new UploadMeter(services.uploadLimits.maxBatchBytes, true);
  const given = await readGiven(request, signal, (file) => meter.drain(file));
  if (meter.requestHash(given) !== earlier.requestHash) {
    throw new RagmillError(
      'idempotency_key_reused',
      `This Idempotency-Key stands for ${earlier.batchId}, which another file or other options made. Use a new key.`,
    );
  }
  const { batchId } = earlier;
  const batch = await found(await services.store.getBatch(batchId), batchId, services.store);
  return { batch, isReplay: true };
}

async function readGiven(
  request: FastifyRequest,
  signal: AbortSignal,
  takeFile: (file: AsyncIterable<Buffer>) => Promise<void>,
) {
  const fields = await readBody(request, signal, takeFile);
  const { dry_run: _, ...given } = { ...(request.query as UploadQuery), ...fields };
  return given;
}
