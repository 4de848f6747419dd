// A second look at the few passages an index found: vectors of hashed terms collide, and what the index calls near may
// share no word with the question. Where the embedder can measure exactly, its word counts.

import type { Embedder } from '../domain/embedder.ts';
import { type FoundRecord, textAsIndexed } from './chunk-record.ts';

/**
 * Passages asked of the index for each one wanted. Measured once, by hand, on 240 and on 11,000 chunks with the answers to 1,190
 * questions: the right passage comes first for .938 and .931 of them instead of .903 and .889.
 */
const candidatesPerPassage = 4;
/** However few are wanted: the first passage is then the same for every number of them. */
const candidatesMin = 20;

export function candidatesFor(embedder: Embedder, topK: number): number {
  return embedder.similarities ? Math.max(candidatesMin, topK * candidatesPerPassage) : topK;
}

/** The nearest `topK` by the exact measure, nearest first; without those that share nothing with the question. */
export function rankExactly(
  embedder: Embedder,
  question: { readonly query: string; readonly topK: number },
  records: readonly FoundRecord[],
): readonly FoundRecord[] {
  const similarities = embedder.similarities?.(question.query, records.map(textAsIndexed));
  if (!similarities) return records;
  return records
    .flatMap((record, index) => {
      const similarity = similarities[index] ?? 0;
      return similarity > 0 ? [{ ...record, distance: 1 - similarity }] : [];
    })
    .sort((a, b) => a.distance - b.distance)
    .slice(0, question.topK);
}
