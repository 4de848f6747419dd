// Keeps the points of equal texts apart, because an HNSW graph cannot cope with many that coincide: their distances say
// nothing, so each takes all the others for its neighbours and the rest of the corpus is cut off. Of 2,000 chunks with
// 1,200 copies of two texts, an index of server vectors lost 15 of 100 questions' nearest chunk and filled at a third of the
// speed, and one of lexical vectors could not be filled within minutes (`npm run bench:index -- --copies=0.6`). An index is
// built by chance all the same: a sentence among 1,500 copies of twenty others is out of reach in one build of twenty (once, by hand).
//
// What a question finds does not depend on it: it lies where questions have zeros, or is far smaller than what two vectors of
// the same text differ by at most servers.

import type { Embedder } from '../domain/embedder.ts';

/** Of numbers that questions leave at zero, at most. Less than 0.1 leaves chunks without a word in common cut off (bench:index). */
const freeSize = 0.25;
/** Length of the jitter, as a part of the vector's own. */
const share = 0.003;

export class Jitter {
  #state = 1;

  /** A copy of the vector, as it stands in the index. */
  applied(vector: Float32Array, { freeDimensions = 0 }: Pick<Embedder, 'freeDimensions'>): number[] {
    const moved = Array.from(vector);
    const from = freeDimensions > 0 ? moved.length - freeDimensions : 0;
    const size = freeDimensions > 0 ? freeSize : Math.sqrt(3 / moved.length) * share * Math.hypot(...moved);
    for (let at = from; at < moved.length; at += 1) moved[at] = (moved[at] ?? 0) + size * this.#next();
    return moved;
  }

  /** Between -1 and 1. Source: the 32-bit linear congruential generator of Numerical Recipes; its upper bits are good enough here. */
  #next(): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) | 0;
    return this.#state / 2 ** 31;
  }
}
