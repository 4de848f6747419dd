// Where a term stands in a vector: several places, each with a sign, so that two terms that share one place
// differ in the others, and what is left of collisions is as often below the true value as above it.

/**
 * Places of a term. Once, by hand, on 11,000 chunks and 1,024 dimensions, exact search put the right passage among the first five
 * for .904 of the questions with one place, .955 with four; eight bring nothing more on the small set.
 */
export const placesPerTerm = 4;

/**
 * Adds `weight` times the unit vector of the term. Each place lies in a block of its own, so they never coincide.
 * `vector.length` must be a multiple of `placesPerTerm`.
 */
export function addTerm(vector: Float32Array, term: string, weight: number): void {
  const blockLength = vector.length / placesPerTerm;
  const share = weight / Math.sqrt(placesPerTerm);
  const base = fnv(term);
  for (let block = 0; block < placesPerTerm; block++) {
    const mixed = mix(base + Math.imul(block, 0x9e3779b9));
    const at = block * blockLength + ((mixed >>> 1) % blockLength);
    vector[at] = (vector[at] ?? 0) + (mixed & 1 ? share : -share);
  }
}

/** 32 bits that tell terms apart. */
export function hashOf(term: string): number {
  return mix(fnv(term));
}

/** FNV-1a over UTF-16 code units. Source: Fowler, Noll, Vo; 32-bit parameters. */
function fnv(term: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < term.length; at++) value = Math.imul(value ^ term.charCodeAt(at), 0x01000193);
  return value;
}

/** Spreads every bit over all others. Source: the finaliser of MurmurHash3 (A. Appleby). */
function mix(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
