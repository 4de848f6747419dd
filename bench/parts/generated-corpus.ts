// A corpus that anybody can make again, and questions about it: words drawn with Zipf's law, two thirds of them from the
// topic of the chunk, as prose has it. The same numbers give the same texts, on every machine.

export interface GeneratedChunk {
  readonly id: string;
  readonly text: string;
}

const VOCABULARY = 60_000;
const TOPICS = 400;
const TOPIC_WORDS = 1_500;
const WORDS_A_SENTENCE = 14;
/** Content words of a chunk, at least and at most. */
const CHUNK_WORDS = [40, 140] as const;
/** What stands between content words in English prose. */
const FUNCTION_WORDS = 'the of and to in a is that for it as was with be by on not are this at'.split(' ');

/** Numbers from 0 to 1 by mulberry32 (T. Ettinger), which fits in a line. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A rank from 0 below `count`, drawn with Zipf's law, exponent 1. */
function zipf(random: () => number, count: number): number {
  return Math.min(count - 1, Math.floor((count + 1) ** random()) - 1);
}

export class GeneratedCorpus {
  readonly #words: readonly string[];
  readonly #topics: readonly (readonly number[])[];

  readonly #copies: number;

  /** `copies`: the part of the chunks that have one of two texts, as boilerplate has; 0 to 1. */
  constructor(copies = 0) {
    this.#copies = copies;
    const random = seeded(1);
    this.#words = makeWords(random, VOCABULARY);
    this.#topics = Array.from({ length: TOPICS }, () =>
      Array.from({ length: TOPIC_WORDS }, () => Math.floor(random() * VOCABULARY)),
    );
  }

  *chunks(count: number): Generator<GeneratedChunk> {
    for (let number = 0; number < count; number++)
      yield { id: `generated-${number}`, text: this.#text(this.#originalOf(number)) };
  }

  /** Two to six words of a chunk, rare ones first to come to mind, and one from anywhere. */
  *questions(count: number, chunkCount: number): Generator<string> {
    const random = seeded(2);
    for (let number = 0; number < count; number++) {
      const words = this.#contentOf(this.#originalOf(Math.floor(random() * chunkCount)));
      const wanted = 2 + Math.floor(random() * 5);
      const chosen = new Set<number>();
      for (let tries = 0; chosen.size < wanted && tries < 50; tries++) {
        const one = words[Math.floor(random() * words.length)] ?? 0;
        const other = words[Math.floor(random() * words.length)] ?? 0;
        chosen.add(Math.max(one, other));
      }
      const shown = [...chosen, zipf(random, VOCABULARY)].map((word) => this.#words[word]);
      yield `What is the ${shown.join(' of the ')}?`;
    }
  }

  /** The chunk whose text this one has. */
  #originalOf(number: number): number {
    return number % 100 < 100 * this.#copies ? number % 2 : number;
  }

  #text(number: number): string {
    const random = seeded(1_000 + number);
    const shown: string[] = [];
    for (const [at, word] of this.#contentOf(number).entries()) {
      if (at > 0 && at % WORDS_A_SENTENCE === 0) shown.push('.');
      if (random() < 0.8) shown.push(FUNCTION_WORDS[Math.floor(random() * FUNCTION_WORDS.length)] ?? '');
      shown.push(this.#words[word] ?? '');
    }
    return `${shown.join(' ').replaceAll(' .', '.')}.`;
  }

  /** Ranks of words, 0 the commonest. */
  #contentOf(number: number): number[] {
    const random = seeded(100_000_007 + number);
    const topic = this.#topics[zipf(random, TOPICS)] ?? [];
    const [least, most] = CHUNK_WORDS;
    const length = least + Math.floor(random() * (most - least));
    return Array.from({ length }, () =>
      random() < 2 / 3 ? (topic[zipf(random, TOPIC_WORDS)] ?? 0) : zipf(random, VOCABULARY),
    );
  }
}

/** Words that differ, and that no stemmer makes one of. */
export function makeWords(random: () => number, count: number): string[] {
  const pick = (letters: string) => letters[Math.floor(random() * letters.length)] ?? '';
  const words = new Set<string>();
  while (words.size < count) {
    const syllables = 1 + Math.floor(3 * (words.size / count) + random() * 1.5);
    let word = pick('bdfgklmnprtvz');
    for (let syllable = 0; syllable < syllables; syllable++) word += pick('aou') + pick('bdfgkmnprt');
    words.add(`${word}k`);
  }
  return [...words];
}
