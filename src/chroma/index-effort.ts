// How hard the index searches: what suffices for ten thousand vectors misses some of a hundred thousand's nearest.

import type { HNSWConfiguration } from 'chromadb';

/** Up to here the configuration is taken as it is. */
const ordinaryChunks = 10_000;
/** Measured with the built-in embedder's vectors by `npm run bench:index`; see docs/scaling.md. */
const growth = 0.3;
/** Chroma's own. */
const defaultSearch = 100;

/** The configuration for a collection of so many chunks: `ef_search` grows with the power 0.3 of their number. */
export function indexFor(index: HNSWConfiguration, chunkCount: number): HNSWConfiguration {
  if (chunkCount <= ordinaryChunks) return index;
  const factor = (chunkCount / ordinaryChunks) ** growth;
  return { ...index, ef_search: Math.round((index.ef_search ?? defaultSearch) * factor) };
}
