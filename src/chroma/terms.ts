// Text to the terms that lexical retrieval compares: folded to lower case without accents, cut at what is
// neither letter nor digit, function words dropped, English words stemmed (Porter). Documents and questions
// take the same way, so that "Investments" and "invest" meet. Writing without spaces between words is cut
// into overlapping pairs of characters.

import { stemmer } from 'stemmer';

/** Changes whenever the same text would give other terms: part of the embedder's fingerprint. */
export const TERMS_VERSION = 1;

/**
 * Function words of English, question words among them, and what an apostrophe leaves over. Every passage has them, so
 * they tell passages apart badly, and in a hashed vector they would collide with the terms that matter.
 */
const functionWords = new Set(
  `a about above after again against all also am an and any are as at be because been before being below between
  both but by can could did do does doing done down during each few for from further had has have having he her
  here hers him his how i if in into is it its just may me might more most must my no nor not now of off on only
  onto or other our ours out over own same shall she should so some such than that the their theirs them then
  there these they this those through to too under until up us very was we were what when where which while who
  whom whose why will with without would you your yours
  d don ll re s t ve`.split(/\s+/),
);

/** Longer runs are keys, hashes or encoded files, not words; the cut keeps the vocabulary's memory bounded. */
const termMaxCharacters = 40;

/** Stems remembered: above the everyday vocabulary of a corpus, and some ten megabytes at most. */
const stemMemoryMaxWords = 100_000;
const stemMemory = new Map<string, string>();

const word = /[\p{L}\p{N}\p{M}]+/gu;
const asciiWord = /[a-z0-9]+/g;
const digitGroupComma = /(\d),(?=\d{3}(?!\d))/g;
const europeanMarks = /[\u0300-\u036f\u00ad]/g;
const unspacedRun =
  /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]+/gu;
const unspacedCharacter = new RegExp(unspacedRun.source, 'u');
const plainEnglish = /^[a-z]+$/;
const beyondAscii = /[^\0-\x7f]/;

/** The terms of a text in their order, repetitions included. */
export function termsOf(text: string): string[] {
  const terms: string[] = [];
  const folded = fold(text);
  if (!beyondAscii.test(folded)) {
    for (const run of folded.match(asciiWord) ?? []) addWord(run, terms);
    return terms;
  }
  const hasUnspaced = unspacedCharacter.test(folded);
  for (const run of folded.match(word) ?? []) {
    if (hasUnspaced) addUnspaced(run, terms);
    else addWord(run, terms);
  }
  return terms;
}

/**
 * Case, compatibility forms and accents are folded away (only the combining marks of European scripts: elsewhere
 * marks spell vowels), and digit groups are joined: "1,000" is 1000.
 */
function fold(text: string): string {
  const lower = text.toLowerCase().replace(digitGroupComma, '$1');
  if (!beyondAscii.test(lower)) return lower;
  return lower.normalize('NFKD').replace(europeanMarks, '').normalize('NFC').toLowerCase();
}

function addWord(run: string, terms: string[]): void {
  if (functionWords.has(run)) return;
  terms.push(plainEnglish.test(run) ? stem(run) : run.slice(0, termMaxCharacters));
}

/** Overlapping pairs of characters, as search engines index Chinese and Japanese; what stands around them is a word. */
function addUnspaced(run: string, terms: string[]): void {
  let end = 0;
  for (const match of run.matchAll(unspacedRun)) {
    if (match.index > end) addWord(run.slice(end, match.index), terms);
    end = match.index + match[0].length;
    const characters = [...match[0]];
    if (characters.length === 1) terms.push(match[0]);
    for (let at = 0; at + 1 < characters.length; at++) terms.push(`${characters[at]}${characters[at + 1]}`);
  }
  if (end < run.length) addWord(run.slice(end), terms);
}

function stem(run: string): string {
  const cut = run.slice(0, termMaxCharacters);
  const known = stemMemory.get(cut);
  if (known !== undefined) return known;
  if (stemMemory.size >= stemMemoryMaxWords) stemMemory.clear();
  const stemmed = stemmer(cut);
  stemMemory.set(cut, stemmed);
  return stemmed;
}
