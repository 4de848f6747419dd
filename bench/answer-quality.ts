// How often the embedded extractor answers right, with what each part of its score is worth, and how often it refuses
// when the context is about something else.
//
//   npm run bench:answers [folder]     folder: documents.jsonl and questions.jsonl of XQuAD-en
//                                             (default ../shared/data/xquad beside the repository)
//
// The context of a question is the top 5 of all paragraphs by plain BM25, in ragmill's own prompt format. An answer is
// right when it contains an accepted answer, without regard to case; a refusal is wrong here. "Other articles": the top 5 of all paragraphs
// of other articles, the hardest wrong context; "random": 5 paragraphs of other articles at random, fixed seed.
// Articles of even and of odd number are counted apart as well: a weight that helps only one half is chance.
// The paragraphs are plain prose: what headings, list items and table rows are worth shows in the tests instead.

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ANSWER_MAX_CHARACTERS, type Extraction, extractAnswer } from '../src/embedded/extract.ts';
import { readPrompt } from '../src/embedded/prompt-reader.ts';
import { DEFAULT_WEIGHTS, inverseFrequency, type Weights } from '../src/embedded/scoring.ts';
import { termsOf } from '../src/embedded/terms.ts';

const K1 = 1.2;
const B = 0.75;
const TOP_K = 5;

interface Paragraph {
  readonly id: string;
  readonly title: string;
  readonly text: string;
}

interface Question {
  readonly query: string;
  readonly document_id: string;
  readonly answers: readonly string[];
}

/** A question with a prompt for each kind of context. */
interface Trial {
  readonly question: Question;
  readonly isOdd: boolean;
  readonly prompts: { readonly right: string; readonly otherArticles: string; readonly random: string };
}

interface Tally {
  readonly right: number;
  readonly odd: number;
  readonly even: number;
  readonly refused: number;
  readonly overLimit: number;
  /** Answers that end in the middle of a sentence. */
  readonly cut: number;
  readonly meanCharacters: number;
}

function readJsonLines<T>(file: string): T[] {
  const lines = readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line): T => JSON.parse(line));
}

/** Plain BM25 over stemmed terms of the paragraphs' text. */
class Bm25 {
  readonly #documents: { readonly counts: Map<string, number>; readonly length: number }[];
  readonly #holders = new Map<string, number>();
  readonly #meanLength: number;

  constructor(texts: readonly string[]) {
    this.#documents = texts.map((text) => {
      const counts = new Map<string, number>();
      const terms = termsOf(text);
      for (const term of terms) counts.set(term, (counts.get(term) ?? 0) + 1);
      for (const term of counts.keys()) this.#holders.set(term, (this.#holders.get(term) ?? 0) + 1);
      return { counts, length: terms.length };
    });
    this.#meanLength = this.#documents.reduce((sum, { length }) => sum + length, 0) / texts.length;
  }

  /** Indexes of the best documents among those that `isEligible` admits. */
  top(query: string, isEligible: (index: number) => boolean): number[] {
    const terms = [...new Set(termsOf(query))];
    const scored = this.#documents.map((_, index) => ({ index, score: this.#score(terms, index) }));
    scored.sort((a, b) => b.score - a.score || a.index - b.index);
    return scored.flatMap(({ index }) => (isEligible(index) ? [index] : [])).slice(0, TOP_K);
  }

  #score(terms: readonly string[], index: number): number {
    const document = this.#documents[index];
    if (document === undefined) return 0;
    let score = 0;
    for (const term of terms) {
      const count = document.counts.get(term) ?? 0;
      const norm = count + K1 * (1 - B + (B * document.length) / this.#meanLength);
      score +=
        (inverseFrequency(this.#documents.length, this.#holders.get(term) ?? 0) * count * (K1 + 1)) / norm;
    }
    return score;
  }
}

function promptOf(query: string, paragraphs: readonly Paragraph[]): string {
  const passages = paragraphs.map(
    ({ id, title, text }) => `<passage id="${id}#0" title="${title}">\n${text}\n</passage>`,
  );
  return `<context>\n${passages.join('\n')}\n</context>\n\nQuestion: ${query}`;
}

/** Numbers in [0, 1) that are the same in every run: the linear congruence of ANSI C. */
function fixedRandom(): () => number {
  let state = 7;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

function prepareTrials(folder: string): Trial[] {
  const paragraphs = readJsonLines<Paragraph>(path.join(folder, 'documents.jsonl'));
  const questions = readJsonLines<Question>(path.join(folder, 'questions.jsonl'));
  const bm25 = new Bm25(paragraphs.map(({ text }) => text));
  const random = fixedRandom();
  return questions.map((question) => {
    const { query, document_id: goldId } = question;
    const article = paragraphs.find(({ id }) => id === goldId)?.title;
    const others = paragraphs.filter(({ title }) => title !== article);
    const pick = (indexes: readonly number[]): Paragraph[] =>
      indexes.flatMap((index) => paragraphs[index] ?? []);
    const isOther = (index: number): boolean => paragraphs[index]?.title !== article;
    const drawn = Array.from({ length: TOP_K }, () => others[Math.floor(random() * others.length)]);
    return {
      question,
      isOdd: Number(goldId.split('-')[1]) % 2 === 1,
      prompts: {
        right: promptOf(query, pick(bm25.top(query, () => true))),
        otherArticles: promptOf(query, pick(bm25.top(query, isOther))),
        random: promptOf(
          query,
          drawn.flatMap((paragraph) => paragraph ?? []),
        ),
      },
    };
  });
}

function ask(text: string, weights: Weights): Extraction {
  const { question, passages } = readPrompt([{ role: 'user', text }]);
  return extractAnswer(question, passages ?? [], { weights });
}

function isRight(answer: string, { answers }: Question): boolean {
  const lowered = answer.toLowerCase();
  return answers.some((accepted) => lowered.includes(accepted.toLowerCase()));
}

function tally(trials: readonly Trial[], kind: keyof Trial['prompts'], weights = DEFAULT_WEIGHTS): Tally {
  const results = trials.map((trial) => {
    const extraction = ask(trial.prompts[kind], weights);
    const text = extraction.kind === 'found' ? extraction.text : null;
    const statements = extraction.kind === 'found' ? extraction.statements : 0;
    return { trial, text, statements, right: text !== null && isRight(text, trial.question) };
  });
  const answered = results.flatMap(({ text }) => text ?? []);
  const share = (part: typeof results): number => part.filter(({ right }) => right).length / part.length;
  return {
    right: share(results),
    even: share(results.filter(({ trial }) => !trial.isOdd)),
    odd: share(results.filter(({ trial }) => trial.isOdd)),
    refused: 1 - answered.length / results.length,
    overLimit: results.filter(
      ({ text, statements }) => statements > 2 || (text?.length ?? 0) > ANSWER_MAX_CHARACTERS,
    ).length,
    cut: answered.filter((text) => text.includes('…')).length / Math.max(1, answered.length),
    meanCharacters: answered.reduce((sum, text) => sum + text.length, 0) / Math.max(1, answered.length),
  };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function reportRight(trials: readonly Trial[]): void {
  const startedAt = performance.now();
  const result = tally(trials, 'right');
  const microseconds = (1000 * (performance.now() - startedAt)) / trials.length;
  console.log(`questions                     ${trials.length}`);
  console.log(`answer holds an accepted one  ${percent(result.right)}`);
  console.log(`  articles of even number     ${percent(result.even)}`);
  console.log(`  articles of odd number      ${percent(result.odd)}`);
  console.log(`over 2 sentences or 400 chars ${result.overLimit}`);
  console.log(`answers with a cut sentence   ${percent(result.cut)}`);
  console.log(`mean answer length            ${Math.round(result.meanCharacters)} characters`);
  console.log(`time per answer               ${Math.round(microseconds)} µs, reading the prompt included`);
  console.log(`"not in context", right       ${percent(result.refused)}`);
  console.log(`  … other articles            ${percent(tally(trials, 'otherArticles').refused)}`);
  console.log(`  … random                    ${percent(tally(trials, 'random').refused)}`);
}

function reportAblation(trials: readonly Trial[]): void {
  console.log('\nwithout …        right    even     odd      refused  cut      refused, other articles');
  for (const name of Object.keys(DEFAULT_WEIGHTS) as (keyof Weights)[]) {
    const weights = { ...DEFAULT_WEIGHTS, [name]: 0 };
    const { right, even, odd, refused, cut } = tally(trials, 'right', weights);
    const columns = [right, even, odd, refused, cut, tally(trials, 'otherArticles', weights).refused];
    console.log(`${name.padEnd(16)} ${columns.map((share) => percent(share).padEnd(8)).join(' ')}`);
  }
}

const folder = path.resolve(process.argv[2] ?? path.join(import.meta.dirname, '../../shared/data/xquad'));
if (existsSync(path.join(folder, 'questions.jsonl'))) {
  const trials = prepareTrials(folder);
  reportRight(trials);
  reportAblation(trials);
} else {
  console.error(
    `No documents.jsonl and questions.jsonl in ${folder}: name the folder as the first argument.`,
  );
  process.exitCode = 1;
}
