// What this process has in hand: its leased chunks, counted as they come and go, so that nobody has to add them up.

import type { LeasedChunk } from './work.ts';

export class Hand {
  /** By fencing token. */
  readonly #chunks = new Map<number, LeasedChunk>();
  readonly #linesByBatch = new Map<string, number>();
  #lines = 0;
  #bytes = 0;

  /** Lines without a record. */
  get lines(): number {
    return this.#lines;
  }

  /** Raw bytes of the chunks. */
  get bytes(): number {
    return this.#bytes;
  }

  get chunks(): LeasedChunk[] {
    return [...this.#chunks.values()];
  }

  get(token: number): LeasedChunk | undefined {
    return this.#chunks.get(token);
  }

  /** Lines of one batch without a record. */
  linesOf(batchId: string): number {
    return this.#linesByBatch.get(batchId) ?? 0;
  }

  add(chunk: LeasedChunk): void {
    this.#chunks.set(chunk.lease.token, chunk);
    this.#bytes += chunk.bytes;
    this.#count(chunk, chunk.openLines);
  }

  /** So many lines of the chunk have their record; with the last one the chunk leaves. */
  finish(chunk: LeasedChunk, lines: number): void {
    chunk.openLines -= lines;
    if (!this.#chunks.has(chunk.lease.token)) return;
    this.#count(chunk, -lines);
    if (chunk.openLines <= 0) this.remove(chunk);
  }

  /** Chunks of one batch. */
  chunksOf(batchId: string): LeasedChunk[] {
    return this.chunks.filter((chunk) => chunk.lease.batchId === batchId);
  }

  /** Whether pause_after holds back lines of the batch. */
  isLimited(batchId: string): boolean {
    return this.linesOf(batchId) > 0 && this.chunksOf(batchId).some((chunk) => chunk.isLimited);
  }

  remove(chunk: LeasedChunk): void {
    if (!this.#chunks.delete(chunk.lease.token)) return;
    this.#bytes -= chunk.bytes;
    this.#count(chunk, -chunk.openLines);
  }

  #count(chunk: LeasedChunk, lines: number): void {
    const { batchId } = chunk.lease;
    this.#lines += lines;
    const left = this.linesOf(batchId) + lines;
    if (left > 0) this.#linesByBatch.set(batchId, left);
    else this.#linesByBatch.delete(batchId);
  }
}
