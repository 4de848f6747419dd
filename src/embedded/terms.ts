// Words as the extractor compares them: folded, stemmed, without the words that every sentence has.

import { stemmer } from 'stemmer';

/** Words too common to tell one sentence from another; question words stand here because they ask, not name. */
const STOP_WORDS = new Set(
  `a about after all also am an and any are as at be because been before being but by can could did do does doing
  during each for from further had has have having he her here him his how i if in into is it its itself me more most
  my no nor not of off on once only or other our out over own same she should so some such than that the their them
  then there these they this those through to too under until up upon us very was we were what when where which while
  who whom whose why will with would you your name called many much`.split(/\s+/),
);

const WORD = /[\p{L}\p{N}]+(?:[.,]\p{N}+)*/gu;
/** Scripts written without spaces: their runs are compared by pairs of characters. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
const POSSESSIVE = /['’]s\b/g;
const NOT_ASCII = /[^\p{ASCII}]/u;

/** Stems already computed; cleared when full, so that hostile text cannot grow it without end. */
const STEM_CACHE_MAX = 50_000;
const stemCache = new Map<string, string>();

function stem(word: string): string {
  const known = stemCache.get(word);
  if (known !== undefined) return known;
  const stemmed = stemmer(word);
  if (stemCache.size >= STEM_CACHE_MAX) stemCache.clear();
  stemCache.set(word, stemmed);
  return stemmed;
}

function characterPairs(run: string): string[] {
  const characters = [...run];
  if (characters.length < 2) return characters;
  return characters.slice(1).map((character, index) => `${characters[index]}${character}`);
}

/** Every term of a text in its order: lower case, without accents, stemmed; common words left out. */
export function termsOf(text: string): string[] {
  const terms: string[] = [];
  let folded = text.toLowerCase().replace(POSSESSIVE, '');
  const isAscii = !NOT_ASCII.test(folded);
  if (!isAscii) folded = folded.normalize('NFKD').replace(/\p{M}/gu, '');
  for (const [word] of folded.matchAll(WORD)) {
    if (STOP_WORDS.has(word)) continue;
    if (!isAscii && UNSPACED.test(word)) terms.push(...characterPairs(word));
    else terms.push(stem(word.replaceAll(',', '')));
  }
  return terms;
}
