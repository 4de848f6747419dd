// The weights of BM25, apart from any vector: how much a term says about a chunk. Length is measured against a
// constant and not against the corpus's average, which would be one more thing for vectors to depend on.

import { termsOf } from './terms.ts';

/** How fast repetitions of a term stop counting. Source: the usual value of BM25, as in Lucene. */
export const saturation = 1.2;
/** How much a long chunk is discounted, 0 to 1. Source: the usual value of BM25, as in Lucene. */
export const lengthDiscount = 0.75;
/** Terms of a middling chunk: 1,000 characters of English prose have about this many. */
export const middlingChunkTerms = 100;

/**
 * Weight of each term of a chunk, between 0 and 1. Between 50 and 120 terms as the middling length, and from 0.4 to
 * 0.75 as the discount, hits on the public question set change by less than one in a hundred.
 */
export function chunkWeights(text: string): Map<string, number> {
  const terms = termsOf(text);
  const counts = new Map<string, number>();
  for (const term of terms) counts.set(term, (counts.get(term) ?? 0) + 1);
  const half = saturation * (1 - lengthDiscount + (lengthDiscount * terms.length) / middlingChunkTerms);
  for (const [term, count] of counts) counts.set(term, count / (count + half));
  return counts;
}
