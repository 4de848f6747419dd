// Text cut into pieces of a bounded size at the best places there are: between paragraphs, else between sentences
// and lines, else between words, else anywhere but inside a character. Pieces, put together, are the text.

import { FenceTracker, linesOf } from './chunk-markdown.ts';

const sentences = new Intl.Segmenter('en', { granularity: 'sentence' });
const words = /\s*\S+\s*/g;

/** A longer paragraph is no prose: it is cut at these lengths first, so that no file holds up the thread. */
const paragraphMaxCharacters = 65_536;

/** Paragraphs and code fences of at most `maxCharacters`; what is longer by itself is cut further. `maxCharacters` >= 2. */
export function* piecesOf(text: string, maxCharacters: number): Generator<string> {
  for (const paragraph of paragraphsOf(text)) {
    for (const part of cutAnywhere(paragraph, paragraphMaxCharacters)) {
      yield* cut(part, maxCharacters, cutters);
    }
  }
}

/** Without the blank lines before and the space after; the first line keeps its indentation. */
export function trimLines(text: string): string {
  return text.replace(/^\s*\n/, '').trimEnd();
}

/** The length that counts, because chunks are trimmed. */
export function sizeOf(text: string): number {
  return trimLines(text).length;
}

/** A heading line goes with the paragraph below it; blank lines go with the paragraph above. */
function* paragraphsOf(text: string): Generator<string> {
  const fences = new FenceTracker();
  let paragraph = '';
  let isEnded = false;
  for (const line of linesOf(text)) {
    const inFence = fences.takes(line.trimEnd());
    const isBlank = !inFence && line.trim() === '';
    if (isEnded && !isBlank) {
      yield paragraph;
      paragraph = '';
      isEnded = false;
    }
    paragraph += line;
    if (isBlank && !isLoneHeading(paragraph)) isEnded = true;
  }
  if (paragraph !== '') yield paragraph;
}

function isLoneHeading(paragraph: string): boolean {
  const trimmed = paragraph.trim();
  return trimmed === '' || (/^#{1,6}\s/.test(trimmed) && !trimmed.includes('\n'));
}

type Cutter = (text: string, maxCharacters: number) => string[];

/** From the best place to cut to the worst. Sentences end at line ends too, which suits lists, tables and code. */
const cutters: readonly Cutter[] = [
  (text) => Array.from(sentences.segment(text), ({ segment }) => segment),
  (text) => text.match(words) ?? [text],
  cutAnywhere,
];

function cut(text: string, maxCharacters: number, [cutter, ...rest]: readonly Cutter[]): string[] {
  if (cutter === undefined || sizeOf(text) <= maxCharacters) return [text];
  const pieces: string[] = [];
  for (const part of cutter(text, maxCharacters).flatMap((part) => cut(part, maxCharacters, rest))) {
    const joined = `${pieces.at(-1) ?? ''}${part}`;
    if (pieces.length > 0 && sizeOf(joined) <= maxCharacters) pieces[pieces.length - 1] = joined;
    else pieces.push(part);
  }
  return pieces;
}

function cutAnywhere(text: string, maxCharacters: number): string[] {
  const parts: string[] = [];
  let start = 0;
  while (start < text.length) {
    const end = start + maxCharacters;
    const splitsPair = /[\ud800-\udbff]/.test(text[end - 1] ?? '') && /[\udc00-\udfff]/.test(text[end] ?? '');
    const next = splitsPair ? end - 1 : end;
    parts.push(text.slice(start, next));
    start = next;
  }
  return parts;
}
