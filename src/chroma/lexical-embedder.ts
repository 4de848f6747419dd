// The built-in embedder: BM25 as an inner product of hashed vectors, microseconds a text, nothing to download.
//
// 1. Without collisions, question · chunk = sum of idf × BM25 weight over the shared terms, divided by the sum of
//    idf over all terms of the question. So the distance 1 - dot is 1 where nothing is shared and nears 0
//    where the chunk is full of every word of the question.
// 2. A term's rarity stands to a part on the chunk's side, and the question's side is divided by the same number:
//    the dot product is that of (1), but chunks then lie near chunks with the same rare terms. Search in an HNSW
//    graph depends on that (see lexicalIndex), and common terms disturb rare ones less where they collide.
// 3. The commonest terms of the corpus have places of their own, where they collide with nothing; all others are hashed.
// 4. Therefore vectors depend on the corpus's counts. These are fixed at construction and part of the fingerprint.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { CorpusChunk } from '../domain/corpus.ts';
import type { Embedder } from '../domain/embedder.ts';
import { addTerm, hashOf, placesPerTerm } from './lexical-hash.ts';
import type { CorpusStatistics } from './lexical-statistics.ts';
import { chunkWeights, lengthDiscount, middlingChunkTerms, saturation } from './lexical-weights.ts';
import { PassageWeights } from './passage-weights.ts';
import { TERMS_VERSION, termsOf } from './terms.ts';

/**
 * The collection's index configuration for these vectors, up to 10,000 chunks (see index-effort.ts). Of exact search's first
 * five it finds some .99 there (`npm run bench:index`). Other values, in the order below: (200, 100, 64): .990, for 2.1 ms of a
 * processor a chunk and 5.0 a question; (200, 200, 32): .980 for 3.2 and 5.0, and no more by longer searches, because some
 * chunks cannot be reached; (200, 100, 48): .984 for 2.1 and 4.6; (100, 100, 64): .955 for 2.1 and 3.6. Once, by hand, in
 * Chroma 1.0.0, with twenty candidates a question.
 */
export const lexicalIndex = {
  space: 'ip',
  ef_search: 250,
  ef_construction: 100,
  max_neighbors: 64,
} as const;

/**
 * Places of the commonest terms. Of BM25's first five among 8,000 chunks of English documentation exact search has .85 in its
 * first twenty without them, .95 with 128, .98 with 256; where a few paragraphs stand among many of another kind, .81, .84
 * and .82, the last with as much less for the others (once, by hand).
 */
const ownPlaces = 128;
/** Places of the others. Twice as many win .026 of the first and .004 of the first five hits at 11,000 chunks (once, by hand), for twice the memory and disk. */
const hashedPlaces = 1024;
/** Left empty, for the index to keep equal chunks apart, and chunks without a word in common together. */
const freeDimensions = 16;
const dimensions = ownPlaces + hashedPlaces + freeDimensions;

/**
 * The power of idf that stands on the chunk's side. At 11,000 chunks (once, by hand), with Chroma's default index, the right
 * passage is among the first five for .627 of the questions with 0, .917 with 0.5, .941 with 0.75, .948 with 1; by exact search
 * for .955, .970, .972, .967.
 */
const chunkSideRarity = 0.75;

/** Texts embedded at one stretch: a few milliseconds; then other callers of the event loop have their turn. */
const textsAtAStretch = 32;

/** The text that stands for a chunk in the index: with its document's title, unless it opens with that already. */
export function indexedText(chunk: Pick<CorpusChunk, 'title' | 'text'>): string {
  const { title, text } = chunk;
  return title === null || text.replace(/^#+ /, '').startsWith(title) ? text : `${title}\n${text}`;
}

export class LexicalEmbedder implements Embedder {
  readonly dimensions = dimensions;
  readonly freeDimensions = freeDimensions;
  readonly fingerprint: string;
  readonly #statistics: CorpusStatistics;
  /** Of the commonest terms. */
  readonly #placeOf: ReadonlyMap<string, number>;
  readonly #passages = new PassageWeights();

  /** Seals the statistics: the whole corpus must have been observed. */
  constructor(statistics: CorpusStatistics) {
    this.#statistics = statistics;
    const sealed = statistics.seal();
    this.#placeOf = new Map(statistics.commonestTerms(ownPlaces).map((term, place) => [term, place]));
    const settings = [
      ownPlaces,
      hashedPlaces,
      freeDimensions,
      placesPerTerm,
      chunkSideRarity,
      saturation,
      lengthDiscount,
      middlingChunkTerms,
    ];
    this.fingerprint = `lexical/${TERMS_VERSION}/${settings.join('/')}/${sealed}`;
  }

  async embedDocuments(texts: readonly string[]): Promise<Float32Array[]> {
    const vectors: Float32Array[] = [];
    for (const text of texts) {
      const weights = chunkWeights(text);
      this.#passages.remember(text, weights);
      vectors.push(this.#vectorOf(weights, (term, weight) => weight * this.#rarity(term)));
      if (vectors.length % textsAtAStretch === 0) await nextTurn();
    }
    return vectors;
  }

  async embedQueries(texts: readonly string[]): Promise<(Float32Array | null)[]> {
    return texts.map((text) => {
      const shares = this.#questionShares(text);
      if (![...shares.keys()].some((term) => this.#statistics.has(term))) return null;
      return this.#vectorOf(shares, (term, share) =>
        this.#statistics.has(term) ? share / this.#rarity(term) : 0,
      );
    });
  }

  /** At 2 microseconds for each text seen lately, 50 for others. Question terms that the corpus lacks count against it. */
  similarities(question: string, indexedTexts: readonly string[]): number[] {
    const shares = this.#questionShares(question);
    const terms = {
      hashes: Uint32Array.from(shares.keys(), hashOf),
      shares: Float64Array.from(shares.values()),
    };
    return indexedTexts.map((text) => this.#passages.similarity(terms, text));
  }

  #vectorOf(
    weights: ReadonlyMap<string, number>,
    valueFor: (term: string, weight: number) => number,
  ): Float32Array {
    const vector = new Float32Array(dimensions);
    const hashed = vector.subarray(ownPlaces, ownPlaces + hashedPlaces);
    for (const [term, weight] of weights) {
      const place = this.#placeOf.get(term);
      if (place === undefined) addTerm(hashed, term, valueFor(term, weight));
      else vector[place] = valueFor(term, weight);
    }
    return vector;
  }

  /** Each term's part of the question, by rarity; the parts add up to 1. A term the corpus lacks has its part too. */
  #questionShares(text: string): Map<string, number> {
    const shares = new Map<string, number>();
    let sum = 0;
    for (const term of new Set(termsOf(text))) {
      const idf = this.#statistics.idf(term);
      shares.set(term, idf);
      sum += idf;
    }
    for (const [term, idf] of shares) shares.set(term, idf / sum);
    return shares;
  }

  #rarity(term: string): number {
    return this.#statistics.idf(term) ** chunkSideRarity;
  }
}
