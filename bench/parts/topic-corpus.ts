// A corpus of topics, some of which everybody asks about and most nobody: each question is about one topic, drawn with Zipf's
// law, and its words are such that passages of that topic are found, though not the same ones for every question. The same
// numbers give the same texts, on every machine.

import { makeWords, seeded } from './generated-corpus.ts';

export interface TopicCorpusOptions {
  readonly topics: number;
  readonly passagesPerTopic: number;
  /** Of Zipf's law: 0 asks about all topics alike; the greater, the more about few. */
  readonly exponent: number;
  readonly seed: number;
}

interface Topic {
  /** Words in every passage of the topic, and in every question about it. */
  readonly names: readonly string[];
  /** Words of which each passage has some. */
  readonly words: readonly string[];
}

const COMMON_WORDS = 3_000;
const NAMES = 2;
const TOPIC_WORDS = 24;
/** Of a passage, at least and at most. */
const PASSAGE_WORDS = [60, 100] as const;
/** Of the words of a passage that are no names, those from its topic. */
const TOPIC_SHARE = 0.25;
const QUESTION_WORDS = 3;
const SENTENCE_WORDS = 12;

export class TopicCorpus {
  readonly #options: TopicCorpusOptions;
  readonly #common: readonly string[];
  readonly #topics: readonly Topic[];
  /** By topic: the probability of it and all before it. */
  readonly #upTo: Float64Array;

  constructor(options: TopicCorpusOptions) {
    const { topics, exponent, seed } = options;
    this.#options = options;
    const perTopic = NAMES + TOPIC_WORDS;
    const words = makeWords(seeded(seed), COMMON_WORDS + topics * perTopic);
    this.#common = words.slice(0, COMMON_WORDS);
    this.#topics = Array.from({ length: topics }, (_, topic) => {
      const own = words.slice(COMMON_WORDS + topic * perTopic, COMMON_WORDS + (topic + 1) * perTopic);
      return { names: own.slice(0, NAMES), words: own.slice(NAMES) };
    });
    this.#upTo = new Float64Array(topics);
    let sum = 0;
    for (let rank = 0; rank < topics; rank += 1) {
      sum += (rank + 1) ** -exponent;
      this.#upTo[rank] = sum;
    }
  }

  *passages(): Generator<{ id: string; text: string }> {
    for (const [number, topic] of this.#topics.entries()) {
      for (let passage = 0; passage < this.#options.passagesPerTopic; passage += 1) {
        const random = seeded(this.#options.seed + 1_000_003 * (number + 1) + passage);
        yield { id: `topic-${number}-${passage}`, text: this.#passageText(topic, random) };
      }
    }
  }

  /** The nth question, from 1 on. */
  question(number: number): string {
    const random = seeded(this.#options.seed + 7_919 * number);
    const topic = this.#topics[this.#drawTopic(random)] ?? { names: [], words: [] };
    const asked = Array.from({ length: QUESTION_WORDS }, () => pick(topic.words, random));
    return `What do ${topic.names.join(' and ')} say of ${asked.join(', ')} in case ${number}?`;
  }

  #drawTopic(random: () => number): number {
    const wanted = random() * (this.#upTo.at(-1) ?? 0);
    return this.#upTo.findIndex((upTo) => upTo >= wanted);
  }

  #passageText(topic: Topic, random: () => number): string {
    const [least, most] = PASSAGE_WORDS;
    const length = least + Math.floor(random() * (most - least));
    const words = Array.from({ length }, () =>
      random() < TOPIC_SHARE ? pick(topic.words, random) : pick(this.#common, random),
    );
    for (const name of topic.names) words[Math.floor(random() * length)] = name;
    return words
      .map((word, at) => (at % SENTENCE_WORDS === SENTENCE_WORDS - 1 ? `${word}.` : word))
      .join(' ');
  }
}

/** The earlier ones more often. */
function pick(words: readonly string[], random: () => number): string {
  return words[Math.floor(words.length * random() ** 2)] ?? '';
}
