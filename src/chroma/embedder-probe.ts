// Which vectors a server makes, told by the vectors of a few fixed texts. Names prove nothing: behind one name and one URL may
// stand another model tomorrow, or the same one with another pooling.
//
// 1. Compared is by angle, not bit by bit: on a GPU the same text gives slightly other numbers in other batches. Two
//    probes are of one embedder when no text has moved by more than the angle below.
// 2. What was seen first stays the reference, so that small steps cannot add up to a large one.
// 3. What lies within the angle is not noticed: another number format, an inference engine with other kernels. It moves
//    vectors less than the differences that decide a ranking.

import { createHash } from 'node:crypto';
import { cosine, dot } from './cosine.ts';

/** Prose, another script, and words that pooling and prompts weigh in other ways. */
export const probeTexts: readonly string[] = [
  'The lighthouse keeper polishes the lens every morning before the fog lifts over the harbour.',
  'Wie viele Urlaubstage stehen Angestellten im ersten Jahr zu? 東京の天気はどうですか。',
  'SELECT name FROM people WHERE age > 30; -- error 404: not found',
];

/**
 * Cosine of 2.6 degrees. Chosen, not measured: rounding to 8 bits of mantissa, as bfloat16 does, moves a vector by some
 * tenths of a degree; texts of unlike meaning, and models that differ, are tens of degrees apart.
 */
const SAME_MIN_COSINE = 0.999;

/** Coarse, so that a server whose answers differ in the last bits only is known again without a reference. */
const KEY_STEPS_PER_UNIT = 100;

/** `vectors` and `reference` hold the vectors of all probe texts, one after the other. */
export function isSameProbe(vectors: Float32Array, reference: Float32Array): boolean {
  if (vectors.length !== reference.length) return false;
  const size = vectors.length / probeTexts.length;
  return probeTexts.every((_text, index) => {
    const place: [number, number] = [index * size, (index + 1) * size];
    return cosine(vectors.subarray(...place), reference.subarray(...place)) >= SAME_MIN_COSINE;
  });
}

/** A name for the vectors of an embedder that was not known before. */
export function probeKey(name: string, vectors: Float32Array): string {
  const size = vectors.length / probeTexts.length;
  const hash = createHash('sha256').update(name);
  for (let start = 0; start < vectors.length; start += size) {
    const vector = vectors.subarray(start, start + size);
    const length = Math.sqrt(dot(vector, vector));
    hash.update(Int8Array.from(vector, (value) => Math.round((value / length) * KEY_STEPS_PER_UNIT)));
  }
  return hash.digest('hex').slice(0, 32);
}
