// An uploaded file, held one piece at a time. Nobody sees it before the commit, and nothing is left of it when the upload
// breaks off.

import { randomBytes } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { StoredFile } from '../../domain/file.ts';
import { RagmillError } from '../../errors.ts';
import { UploadMeter } from '../../scheduler/upload-meter.ts';
import type { Services } from '../services.ts';
import { readParts } from '../upload-form.ts';
import { LIFE_SECONDS_MAX, LIFE_SECONDS_MIN } from './lifetime.ts';

const PIECE_BYTES = 1024 * 1024;
/** Between two looks at the room that is left. */
const PIECES_PER_ROOM_CHECK = 8;

const ANCHOR = 'expires_after[anchor]';
const SECONDS = 'expires_after[seconds]';
const FIELDS: readonly string[] = ['purpose', ANCHOR, SECONDS];

/** Throws what is wrong with the form, `too_large`, and whatever there is no room for. */
export async function storeFile(
  request: FastifyRequest,
  services: Services,
  signal: AbortSignal,
): Promise<StoredFile> {
  const { store, checkUploadRoom } = services;
  const id = `file-${randomBytes(12).toString('hex')}`;
  await store.beginFile(id);
  try {
    await checkUploadRoom();
    let filename = '';
    const fields = await readParts(request, signal, {
      field: checkName,
      file: async (file, name) => {
        filename = checkFilename(name);
        await storePieces(id, file, services);
      },
    });
    return await store.commitFile(id, { filename, lifeSeconds: lifeOf(fields, services) });
  } catch (error) {
    await store.abandonFile(id);
    throw error;
  }
}

async function storePieces(id: string, file: AsyncIterable<Buffer>, services: Services): Promise<void> {
  const { store, uploadLimits, checkUploadRoom } = services;
  const meter = new UploadMeter(uploadLimits.maxBatchBytes, false);
  let number = 0;
  for await (const piece of inPieces(file, meter)) {
    await store.appendFilePiece(id, number, piece);
    number += 1;
    if (number % PIECES_PER_ROOM_CHECK === 0) await checkUploadRoom();
  }
}

/** The same bytes, in pieces of one size but for the last. */
async function* inPieces(file: AsyncIterable<Buffer>, meter: UploadMeter): AsyncGenerator<Buffer> {
  let gathered: Buffer[] = [];
  let bytes = 0;
  for await (const part of file) {
    meter.add(part);
    for (let start = 0; start < part.length; ) {
      const taken = part.subarray(start, start + PIECE_BYTES - bytes);
      start += taken.length;
      bytes += taken.length;
      gathered.push(taken);
      if (bytes < PIECE_BYTES) continue;
      yield Buffer.concat(gathered);
      gathered = [];
      bytes = 0;
    }
  }
  if (bytes > 0) yield Buffer.concat(gathered);
}

function checkName(name: string): void {
  if (FIELDS.includes(name)) return;
  throw new RagmillError('invalid_option', `Unknown parameter: '${name}'.`, { param: name });
}

function checkFilename(name: string): string {
  if (name.endsWith('.jsonl')) return name;
  throw new RagmillError('bad_request', 'Invalid file format for Batch API. Must be .jsonl', {
    param: 'file',
  });
}

/** Seconds that the file is kept; null: until it is deleted. */
function lifeOf(fields: Readonly<Record<string, unknown>>, services: Services): number | null {
  const { purpose } = fields;
  if (purpose === undefined) throw wrong('purpose', 'Missing required parameter');
  if (purpose !== 'batch') throw wrong('purpose', "Invalid value: only 'batch' is supported here");
  const [anchor, seconds] = [fields[ANCHOR], fields[SECONDS]];
  if (anchor === undefined && seconds === undefined) return services.fileLifeSeconds;
  if (anchor !== 'created_at') throw wrong(ANCHOR, "It must be 'created_at'");
  const life = typeof seconds === 'string' && /^\d{1,9}$/.test(seconds) ? Number(seconds) : 0;
  if (life >= LIFE_SECONDS_MIN && life <= LIFE_SECONDS_MAX) return life;
  throw wrong(SECONDS, `It must be an integer from ${LIFE_SECONDS_MIN} to ${LIFE_SECONDS_MAX}`);
}

function wrong(param: string, what: string): RagmillError {
  return new RagmillError('invalid_option', `${what}: '${param}'.`, { param });
}
