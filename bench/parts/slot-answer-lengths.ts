// How long the answers of simulated model servers are: drawn by the question itself, so that a question has the same
// answer at every server, in every run and in whatever order its passages stand; and so that a bench can tell beforehand.

export interface LengthOptions {
  /**
   * `uniform`: between the mean times 1 - spread and 1 + spread. `long-tailed` (when missing): log-normal with this sigma,
   * so that some take much longer than most. With 0 all are alike.
   */
  readonly shape?: LengthShape;
  readonly spread: number;
  readonly seed: number;
}

export type LengthShape = 'uniform' | 'long-tailed';

/** Times the mean: no answer is longer. */
const LONGEST = 20;
const HALF_RANGE = 65_536;

/** The length of the answer, relative to the mean of all. */
export function relativeLength(question: string, { shape, spread, seed }: LengthOptions): number {
  if (spread === 0) return 1;
  const hash = hashOf(question, seed);
  if (shape === 'uniform') return 1 + spread * (2 * (hash / 2 ** 32) - 1);
  // Box and Muller's normal number out of two uniform ones, which are never 0.
  const [low, high] = [hash & 0xffff, hash >>> 16].map((half) => (half + 1) / (HALF_RANGE + 1));
  const normal = Math.sqrt(-2 * Math.log(low ?? 1)) * Math.cos(2 * Math.PI * (high ?? 1));
  return Math.min(LONGEST, Math.exp(spread * normal - spread ** 2 / 2));
}

/** Of the answer, with this mean of all. */
export function answerTokensOf(question: string, lengths: LengthOptions, meanTokens: number): number {
  return Math.max(1, Math.round(meanTokens * relativeLength(question, lengths)));
}

/** FNV-1a (G. Fowler, L. C. Noll, K.-P. Vo) over UTF-16 units, its bits mixed as at the end of MurmurHash3 (A. Appleby). */
function hashOf(text: string, seed: number): number {
  let hash = 2_166_136_261 ^ seed;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 16_777_619);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
