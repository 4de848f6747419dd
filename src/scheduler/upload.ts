// Intake: an upload on its way into the store, line by line, with bounded memory. Nobody sees it before commit(),
// and nothing is left of it after abandon().

import { randomBytes } from 'node:crypto';
import type { Batch } from '../domain/batch.ts';
import type { BatchOptions } from '../domain/options.ts';
import type { Store, UploadStart } from '../store/store.ts';
import { ChunkWriter } from './chunk-writer.ts';
import { LineIntake, type UploadLimits } from './line-intake.ts';
import { checkLine } from './line-parser.ts';

export interface UploadSettings {
  readonly store: Store;
  readonly limits: UploadLimits;
  /** Throws when there is no room for more. */
  readonly checkRoom: () => Promise<void>;
}

export interface UploadMaking {
  readonly options: BatchOptions;
  readonly metadata: Record<string, string> | null;
  /** What the client gave beside the file, for the fingerprint of the request. */
  readonly given: Readonly<Record<string, unknown>>;
}

export function newBatchId(): string {
  return `batch_${randomBytes(12).toString('hex')}`;
}

export class Upload {
  readonly id: string;
  readonly #settings: UploadSettings;
  readonly #intake: LineIntake;
  readonly #chunks: ChunkWriter;

  private constructor(settings: UploadSettings, isHashed: boolean) {
    this.id = newBatchId();
    this.#settings = settings;
    this.#intake = new LineIntake({ limits: settings.limits, check: checkLine, isHashed });
    this.#chunks = new ChunkWriter({ ...settings, batchId: this.id });
  }

  /** Answers the upload, or what its key stands for already. */
  static async begin(
    settings: UploadSettings,
    idempotencyKey: string | null,
  ): Promise<Upload | Exclude<UploadStart, { kind: 'begun' }>> {
    const upload = new Upload(settings, idempotencyKey !== null);
    const start = await settings.store.beginUpload(upload.id, idempotencyKey);
    if (start.kind !== 'begun') return start;
    try {
      await upload.#chunks.checkRoom();
    } catch (error) {
      await upload.abandon();
      throw error;
    }
    return upload;
  }

  /** Takes the whole file. Throws `too_large` over a limit, and whatever the source throws. */
  async receive(source: AsyncIterable<Buffer>): Promise<void> {
    await this.#intake.read(source, (number, bytes, problem) => this.#chunks.add(number, bytes, problem));
    await this.#chunks.end();
  }

  /** Makes it a batch. Throws `empty_upload`, or `invalid_lines` when its lines cannot be run. */
  async commit({ options, metadata, given }: UploadMaking): Promise<Batch> {
    const refusal = this.#intake.refusal(options.onInvalid);
    if (refusal) throw refusal;
    const { meter } = this.#intake;
    const requestHash = meter.requestHash(given);
    const batch = { options, metadata, inputBytes: meter.bytes, requestHash };
    return this.#settings.store.commitUpload(this.id, batch);
  }

  async abandon(): Promise<void> {
    await this.#chunks.settled();
    await this.#settings.store.abandonUpload(this.id);
  }
}
