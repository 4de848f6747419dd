// The lines of a file on their way into the store, chunk by chunk, with bounded memory.

import type { NewChunk, StoredProblem } from '../domain/chunk.ts';
import type { Store } from '../store/store.ts';
import { ChunkBuilder } from './chunk-builder.ts';

export interface ChunkWriterOptions {
  readonly store: Pick<Store, 'appendChunk'>;
  /** Throws when there is no room for more. */
  readonly checkRoom: () => Promise<void>;
  /** Of the batch or upload that they are to be lines of. */
  readonly batchId: string;
}

/** Chunks on their way to the disk at a time: enough to overlap, few enough to bound memory. */
const CHUNKS_IN_FLIGHT = 4;

/** Chunks of at most 1 MiB between two looks at the room that is left. */
const CHUNKS_PER_ROOM_CHECK = 8;

export class ChunkWriter {
  readonly #options: ChunkWriterOptions;
  readonly #chunks = new ChunkBuilder();
  #writes: Promise<void>[] = [];
  /** Chunks that may go before the next look at the room that is left. */
  #unlooked = 0;

  constructor(options: ChunkWriterOptions) {
    this.#options = options;
  }

  /** Looks at the room that is left before there is anything to write, for the first chunks. Throws what the look throws. */
  async checkRoom(): Promise<void> {
    await this.#options.checkRoom();
    this.#unlooked = CHUNKS_PER_ROOM_CHECK;
  }

  /** Takes a line; what it answers is to be awaited before the next. Throws what checkRoom and the store throw. */
  add(line: number, bytes: Buffer, problem: StoredProblem | null): Promise<void> | undefined {
    const chunk = this.#chunks.add(line, bytes, problem);
    return chunk ? this.#write(chunk) : undefined;
  }

  /** Resolves when all lines are stored. */
  async end(): Promise<void> {
    const last = this.#chunks.flush();
    if (last) await this.#write(last);
    await Promise.all(this.#writes);
  }

  /** Resolves when nothing is on its way any more, whatever became of it. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#writes);
  }

  async #write(chunk: NewChunk): Promise<void> {
    const { store, batchId } = this.#options;
    if (this.#unlooked === 0) await this.checkRoom();
    this.#unlooked -= 1;
    const write = store.appendChunk(batchId, chunk);
    // A failed write is met where it is awaited; until then it must not count as unhandled.
    write.catch(() => {});
    this.#writes.push(write);
    if (this.#writes.length >= CHUNKS_IN_FLIGHT) await this.#writes.shift();
  }
}
