// The weights of passages that were compared lately, small enough to keep many: a question finds some twenty, a batch
// finds the same ones over and over, and taking a passage apart costs a hundred times what comparing it does.

import { hashOf } from './lexical-hash.ts';
import { chunkWeights } from './lexical-weights.ts';

/** Hashes of terms, and beside each its weight in 1/2^32. */
type PackedWeights = Uint32Array;

/** The question's side of a comparison. */
export interface QuestionTerms {
  readonly hashes: Uint32Array;
  /** Parts of the question, in the order of the hashes. */
  readonly shares: Float64Array;
}

/** Passages of each of two generations; with some 70 terms a passage both take 30 MB at most. */
const defaultGenerationPassages = 16_384;
const weightScale = 2 ** 32 - 1;
const prime = 0x01000193;

export class PassageWeights {
  readonly #generationPassages: number;
  /** By a hash of the text: two texts with the same one are as good as impossible, and would only change a ranking. */
  #young = new Map<number, PackedWeights>();
  #old = new Map<number, PackedWeights>();

  constructor(generationPassages = defaultGenerationPassages) {
    this.#generationPassages = generationPassages;
  }

  /** Sum of share × weight over the terms they share; exactly 0 where they share none. */
  similarity(question: QuestionTerms, text: string): number {
    const weights = this.#weightsOf(text);
    let similarity = 0;
    for (let at = 0; at < question.hashes.length; at++) {
      const hash = question.hashes[at];
      for (let place = 0; place < weights.length; place += 2) {
        if (weights[place] !== hash) continue;
        similarity += ((question.shares[at] ?? 0) * (weights[place + 1] ?? 0)) / weightScale;
        break;
      }
    }
    return similarity;
  }

  /** Keeps weights that were worked out for something else. */
  remember(text: string, weights: ReadonlyMap<string, number>): void {
    this.#keep(keyOf(text), packed(weights));
  }

  #weightsOf(text: string): PackedWeights {
    const key = keyOf(text);
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const weights = this.#old.get(key) ?? packed(chunkWeights(text));
    this.#keep(key, weights);
    return weights;
  }

  /** What was not looked at for a generation goes with it. */
  #keep(key: number, weights: PackedWeights): void {
    if (this.#young.size >= this.#generationPassages) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, weights);
  }
}

function packed(weights: ReadonlyMap<string, number>): PackedWeights {
  const values = new Uint32Array(2 * weights.size);
  let at = 0;
  for (const [term, weight] of weights) {
    values[at] = hashOf(term);
    values[at + 1] = Math.round(weight * weightScale);
    at += 2;
  }
  return values;
}

/**
 * 53 bits of four hashes (FNV-1a), each of every fourth character: they do not wait for each other, which makes them three
 * times as fast as one.
 */
function keyOf(text: string): number {
  const fours = text.length & ~3;
  let first = text.length;
  let second = 0x811c9dc5;
  let third = 0x811c9dc5;
  let fourth = 0x811c9dc5;
  for (let at = 0; at < fours; at += 4) {
    first = Math.imul(first ^ text.charCodeAt(at), prime);
    second = Math.imul(second ^ text.charCodeAt(at + 1), prime);
    third = Math.imul(third ^ text.charCodeAt(at + 2), prime);
    fourth = Math.imul(fourth ^ text.charCodeAt(at + 3), prime);
  }
  for (let at = fours; at < text.length; at++) first = Math.imul(first ^ text.charCodeAt(at), prime);
  const high = Math.imul(Math.imul(Math.imul(first ^ second, prime) ^ third, prime) ^ fourth, prime);
  const low = Math.imul(Math.imul(Math.imul(fourth ^ third, 31) ^ second, 31) ^ first, 31);
  return (high >>> 0) * 2 ** 21 + (low >>> 11);
}
