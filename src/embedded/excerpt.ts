// Cuts a statement that is too long down to the stretch that says most about the question.

import { termsOf } from './terms.ts';

/** A longer run without a space, as in Chinese, may be cut inside. */
const WORD = /\S{1,40}/gu;
const ELLIPSIS = '…';

interface Word {
  readonly start: number;
  readonly end: number;
  readonly terms: readonly string[];
}

/** The weight of the distinct question terms in a window that slides over words. */
class WindowWeight {
  readonly #weights: ReadonlyMap<string, number>;
  readonly #counts = new Map<string, number>();
  total = 0;

  constructor(weights: ReadonlyMap<string, number>) {
    this.#weights = weights;
  }

  change(word: Word | undefined, step: 1 | -1): void {
    for (const term of word?.terms ?? []) {
      const weight = this.#weights.get(term);
      if (weight === undefined) continue;
      const before = this.#counts.get(term) ?? 0;
      this.#counts.set(term, before + step);
      if (before === 0) this.total += weight;
      else if (before + step === 0) this.total -= weight;
    }
  }
}

/** For each first word of a window the last one that fits into `maxCharacters`, and what the window weighs. */
function slideWindow(words: readonly Word[], maxCharacters: number, weights: ReadonlyMap<string, number>) {
  const window = new WindowWeight(weights);
  const stretches: { start: number; end: number; weight: number }[] = [];
  let next = 0;
  for (const first of words) {
    let word = words[next];
    while (word !== undefined && word.end - first.start <= maxCharacters) {
      window.change(word, 1);
      next += 1;
      word = words[next];
    }
    stretches.push({ start: first.start, end: words[next - 1]?.end ?? first.end, weight: window.total });
    if (next === words.length) break;
    window.change(first, -1);
  }
  return stretches;
}

/**
 * `text` itself where it fits; else its heaviest stretch of whole words, ellipses where something is missing. Of
 * equally heavy neighbours the middle one is taken, so that the question's words stand amid their surroundings.
 */
export function excerpt(text: string, maxCharacters: number, weights: ReadonlyMap<string, number>): string {
  if (text.length <= maxCharacters) return text;
  const words = Array.from(text.matchAll(WORD), ({ 0: word, index }) => {
    return { start: index, end: index + word.length, terms: termsOf(word) };
  });
  const stretches = slideWindow(words, maxCharacters - 2 * ELLIPSIS.length, weights);
  const heaviest = Math.max(...stretches.map(({ weight }) => weight)) - 1e-9;
  const from = stretches.findIndex(({ weight }) => weight >= heaviest);
  let to = from;
  while ((stretches[to + 1]?.weight ?? 0) >= heaviest && heaviest > 0) to += 1;
  const chosen = stretches[Math.floor((from + to) / 2)];
  if (chosen === undefined) return text.slice(0, maxCharacters);
  const head = chosen.start > 0 ? ELLIPSIS : '';
  const tail = chosen.end < text.length ? ELLIPSIS : '';
  return `${head}${text.slice(chosen.start, chosen.end)}${tail}`;
}
