// Intake: an upload on its way into the store, line by line, with bounded memory. Nobody sees it before commit(),
// and nothing is left of it after abandon().

import { randomBytes } from 'node:crypto';
import type { Batch } from '../domain/batch.ts';
import type { NewChunk, StoredProblem } from '../domain/chunk.ts';
import type { BatchOptions } from '../domain/options.ts';
import { type LineProblem, RagmillError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import { ChunkBuilder } from './chunk-builder.ts';
import { CustomIdIndex } from './custom-id-index.ts';
import { parseLine } from './line-parser.ts';
import { LineSplitter, type RawLine } from './line-splitter.ts';

export interface UploadLimits {
  readonly maxBatchLines: number;
  readonly maxBatchBytes: number;
  readonly maxLineBytes: number;
}

/** Chunks on their way to the disk at a time: enough to overlap, few enough to bound memory. */
const CHUNKS_IN_FLIGHT = 4;

/** Most problems that an answer lists. */
const LISTED_PROBLEMS = 100;

export class Upload {
  readonly id: string;
  readonly #store: Store;
  readonly #limits: UploadLimits;
  readonly #defaults: BatchOptions;
  readonly #splitter: LineSplitter;
  readonly #chunks = new ChunkBuilder();
  readonly #customIds = new CustomIdIndex();
  readonly #problems: LineProblem[] = [];
  #writes: Promise<void>[] = [];
  #bytes = 0;
  #lines = 0;
  #badLines = 0;

  private constructor(store: Store, limits: UploadLimits, defaults: BatchOptions) {
    this.id = `batch_${randomBytes(12).toString('hex')}`;
    this.#store = store;
    this.#limits = limits;
    this.#defaults = defaults;
    this.#splitter = new LineSplitter(limits.maxLineBytes);
  }

  static async begin(store: Store, limits: UploadLimits, defaults: BatchOptions): Promise<Upload> {
    const upload = new Upload(store, limits, defaults);
    await store.beginUpload(upload.id, null);
    return upload;
  }

  /** Takes the whole file. Throws `too_large` over a limit, and whatever the source throws. */
  async receive(source: AsyncIterable<Buffer>): Promise<void> {
    for await (const piece of source) {
      this.#bytes += piece.length;
      if (this.#bytes > this.#limits.maxBatchBytes) {
        throw new RagmillError(
          'too_large',
          `The upload is over ${this.#limits.maxBatchBytes} bytes (MAX_BATCH_BYTES). Split it.`,
        );
      }
      for (const line of this.#splitter.push(piece)) await this.#take(line);
    }
    for (const line of this.#splitter.end()) await this.#take(line);
    await this.#write(this.#chunks.flush());
    await Promise.all(this.#writes);
  }

  /** Makes it a batch. Throws `empty_upload`, or `invalid_lines` when its lines cannot be run. */
  async commit(options: BatchOptions, metadata: Record<string, string> | null): Promise<Batch> {
    if (this.#lines === 0) {
      throw new RagmillError('empty_upload', 'The upload has no lines. Send one JSON object a line.');
    }
    if (this.#badLines > 0 && (options.onInvalid === 'reject' || this.#badLines === this.#lines)) {
      const counted =
        this.#badLines === this.#lines
          ? `None of the ${this.#lines} lines can`
          : `${this.#badLines} of the ${this.#lines} lines cannot`;
      throw new RagmillError('invalid_lines', `${counted} be run. Nothing was stored.`, {
        lines: this.#problems,
      });
    }
    return this.#store.commitUpload(this.id, {
      options,
      metadata,
      inputBytes: this.#bytes,
      requestHash: null,
    });
  }

  async abandon(): Promise<void> {
    await Promise.allSettled(this.#writes);
    await this.#store.abandonUpload(this.id);
  }

  async #take(line: RawLine): Promise<void> {
    if (line.bytes?.every((byte) => byte === 0x20 || byte === 0x09)) return;
    this.#lines += 1;
    if (this.#lines > this.#limits.maxBatchLines) {
      throw new RagmillError(
        'too_large',
        `The upload has more than ${this.#limits.maxBatchLines} lines (MAX_BATCH_LINES). Split it.`,
      );
    }
    const problem = this.#check(line);
    if (problem) {
      this.#badLines += 1;
      if (this.#problems.length < LISTED_PROBLEMS) this.#problems.push(problem);
    }
    await this.#write(this.#chunks.add(line.number, line.bytes ?? Buffer.alloc(0), problem));
  }

  #check(line: RawLine): (LineProblem & StoredProblem) | null {
    if (line.bytes === null) {
      const message = `The line is over ${this.#limits.maxLineBytes} bytes (MAX_LINE_BYTES).`;
      return { line: line.number, code: 'line_too_long', message };
    }
    const parsed = parseLine(line.bytes, this.#defaults);
    if ('code' in parsed) return { line: line.number, code: parsed.code, message: parsed.message };
    const earlier = this.#customIds.add(parsed.customId, line.number);
    if (earlier === null) return null;
    const message = `The custom_id ${JSON.stringify(parsed.customId)} stands on line ${earlier} already.`;
    return { line: line.number, code: 'duplicate_custom_id', message };
  }

  async #write(chunk: NewChunk | null): Promise<void> {
    if (!chunk) return;
    const write = this.#store.appendChunk(this.id, chunk);
    // A failed write is met where it is awaited; until then it must not count as unhandled.
    write.catch(() => {});
    this.#writes.push(write);
    if (this.#writes.length < CHUNKS_IN_FLIGHT) return;
    await this.#writes.shift();
  }
}
