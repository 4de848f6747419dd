// What this process has in hand: its leased chunks, counted as they come and go, so that nobody has to add them up.

import type { LeasedChunk } from './work.ts';

export class Hand {
  /** By fencing token. */
  readonly #chunks = new Map<number, LeasedChunk>();
  readonly #byBatch = new Map<string, Set<LeasedChunk>>();
  readonly #linesByBatch = new Map<string, number>();
  readonly #retrievingMax: number;
  readonly #onRetrievalRoom: () => void;
  #lines = 0;
  #bytes = 0;
  #retrieving = 0;

  /** `onRetrievalRoom`: fewer than `retrievingMax` lines wait for their passages again. */
  constructor(retrievingMax: number, onRetrievalRoom: () => void) {
    this.#retrievingMax = retrievingMax;
    this.#onRetrievalRoom = onRetrievalRoom;
  }

  /** Lines without a record. */
  get lines(): number {
    return this.#lines;
  }

  /** Of the chunks' raw text, and of the passages found for lines without a record. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Those of them that still wait for a digest. */
  get digestLines(): number {
    return this.#chunks.values().reduce((sum, chunk) => sum + chunk.digestLines, 0);
  }

  /** Lines that wait for their passages. */
  get retrievingLines(): number {
    return this.#retrieving;
  }

  /** A line begins to wait for its passages. */
  retrieving(): void {
    this.#retrieving += 1;
  }

  /** It waits no longer. */
  retrieved(): void {
    this.#retrieving -= 1;
    if (this.#retrieving === this.#retrievingMax - 1) this.#onRetrievalRoom();
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
    const { batchId } = chunk.lease;
    this.#byBatch.set(batchId, (this.#byBatch.get(batchId) ?? new Set()).add(chunk));
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

  /** The chunk holds so many bytes more; less, below zero. */
  grow(chunk: LeasedChunk, bytes: number): void {
    if (!this.#chunks.has(chunk.lease.token)) return;
    chunk.bytes += bytes;
    this.#bytes += bytes;
  }

  /** So many lines of a chunk in hand, parked before, go on. */
  goOn(chunk: LeasedChunk, lines: number): void {
    chunk.openLines += lines;
    this.#count(chunk, lines);
  }

  /** Chunks of one batch. */
  chunksOf(batchId: string): LeasedChunk[] {
    return [...(this.#byBatch.get(batchId) ?? [])];
  }

  /** Whether pause_after holds back lines of the batch. */
  isLimited(batchId: string): boolean {
    return this.chunksOf(batchId).some((chunk) => chunk.isLimited);
  }

  remove(chunk: LeasedChunk): void {
    if (!this.#chunks.delete(chunk.lease.token)) return;
    const { batchId } = chunk.lease;
    const others = this.#byBatch.get(batchId);
    others?.delete(chunk);
    if (others?.size === 0) this.#byBatch.delete(batchId);
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
