// How many chunks of the corpus each term stands in: what makes a rare word of a question count more than a
// common one. Gathered in a first pass over the corpus, before any vector is made.

import { createHash } from 'node:crypto';
import { termsOf } from './terms.ts';

/** Memory grows with the vocabulary of the corpus, not with its size. */
export class CorpusStatistics {
  readonly #chunksByTerm = new Map<string, number>();
  #chunks = 0;
  #digest: string | null = null;

  /** Counts one chunk of the corpus, by the text that is embedded for it. Throws once sealed. */
  observe(text: string): void {
    if (this.#digest !== null)
      throw new Error('the corpus was counted already: vectors depend on its counts');
    this.#chunks += 1;
    for (const term of new Set(termsOf(text))) {
      this.#chunksByTerm.set(term, (this.#chunksByTerm.get(term) ?? 0) + 1);
    }
  }

  /** Ends the counting. Returns a hash of all counts; the same chunks in any order give the same one. */
  seal(): string {
    if (this.#digest === null) {
      const hash = createHash('sha256').update(`${this.#chunks}\n`);
      for (const term of [...this.#chunksByTerm.keys()].sort()) {
        hash.update(`${term} ${this.#chunksByTerm.get(term)}\n`);
      }
      this.#digest = hash.digest('hex');
    }
    return this.#digest;
  }

  /** The terms that most chunks have, the commonest first; equals in the order of their code units. */
  commonestTerms(count: number): string[] {
    return [...this.#chunksByTerm]
      .sort(([left, leftChunks], [right, rightChunks]) => rightChunks - leftChunks || (left < right ? -1 : 1))
      .slice(0, count)
      .map(([term]) => term);
  }

  /** Whether some chunk has the term. */
  has(term: string): boolean {
    return this.#chunksByTerm.has(term);
  }

  /**
   * Inverse document frequency: above 0, largest for a term that no chunk has.
   * Source: the idf of BM25 in its non-negative form, as in Lucene's BM25Similarity.
   */
  idf(term: string): number {
    const chunksWithTerm = this.#chunksByTerm.get(term) ?? 0;
    return Math.log(1 + (this.#chunks - chunksWithTerm + 0.5) / (chunksWithTerm + 0.5));
  }
}
