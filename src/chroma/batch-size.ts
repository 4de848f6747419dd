// How many questions go to Chroma together, found by measuring: the more, the less each costs, until a call takes long
// enough to be felt by those who wait behind it.

/**
 * Of 10,000 chunks, a question alone in its call costs Chroma 1.9 times the processor time that it costs among 128, one of 4
 * in a call 1.4 times, and from 16 on the differences are those of the measurements (npm run bench:retrieval-cost).
 */
const firstSize = 32;
const sizeMin = 16;
const sizeMax = 256;
/** A full call that takes longer than this is followed by smaller ones, one that takes half of it by larger ones. */
const targetMs = 250;

export class BatchSize {
  #size = firstSize;

  get value(): number {
    return this.#size;
  }

  /** A call with so many questions has ended after so long. */
  observe(questions: number, durationMs: number, isAnswered: boolean): void {
    if (durationMs > targetMs) this.#size = Math.max(sizeMin, Math.min(this.#size, questions) >> 1);
    // A refusal is quick as well.
    else if (isAnswered && questions >= this.#size && durationMs < targetMs / 2)
      this.#size = Math.min(sizeMax, this.#size * 2);
  }
}
