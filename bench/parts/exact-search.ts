// Search that looks at everything: what an index is measured against.

import type { CorpusStatistics } from '../../src/chroma/lexical-statistics.ts';
import { chunkWeights } from '../../src/chroma/lexical-weights.ts';
import { termsOf } from '../../src/chroma/terms.ts';

export interface Scored {
  readonly chunk: number;
  readonly score: number;
}

/** The `count` chunks whose vectors have the largest inner products, best first. */
export function nearestVectors(
  question: Float32Array,
  vectors: readonly Float32Array[],
  count: number,
): Scored[] {
  const scores = new Float64Array(vectors.length);
  for (const [chunk, vector] of vectors.entries()) scores[chunk] = dot(question, vector);
  return best(scores, count);
}

/** BM25 itself, by an inverted index, on the terms and weights of the built-in embedder. */
export class Bm25 {
  readonly #statistics: CorpusStatistics;
  readonly #postings = new Map<string, { chunks: number[]; weights: number[] }>();
  #chunks = 0;

  constructor(statistics: CorpusStatistics) {
    this.#statistics = statistics;
  }

  add(text: string): void {
    for (const [term, weight] of chunkWeights(text)) {
      let posting = this.#postings.get(term);
      if (!posting) {
        posting = { chunks: [], weights: [] };
        this.#postings.set(term, posting);
      }
      posting.chunks.push(this.#chunks);
      posting.weights.push(weight);
    }
    this.#chunks += 1;
  }

  search(question: string, count: number): Scored[] {
    const scores = new Float64Array(this.#chunks);
    for (const term of new Set(termsOf(question))) {
      const { chunks, weights } = this.#postings.get(term) ?? { chunks: [], weights: [] };
      const idf = this.#statistics.idf(term);
      for (const [at, chunk] of chunks.entries())
        scores[chunk] = (scores[chunk] ?? 0) + idf * (weights[at] ?? 0);
    }
    return best(scores, count);
  }
}

function dot(left: Float32Array, right: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < left.length; at++) sum += (left[at] ?? 0) * (right[at] ?? 0);
  return sum;
}

function best(scores: Float64Array, count: number): Scored[] {
  const kept: Scored[] = [];
  let least = Number.NEGATIVE_INFINITY;
  for (const [chunk, score] of scores.entries()) {
    if (kept.length === count && score <= least) continue;
    const at = kept.findIndex((other) => other.score < score);
    kept.splice(at < 0 ? kept.length : at, 0, { chunk, score });
    if (kept.length > count) kept.pop();
    least = kept.at(-1)?.score ?? least;
  }
  return kept;
}
