// Reads out of an answer which passages it cites: labels in square brackets, as the default system prompt asks for.
//
// 1. Cited is only what stood in the prompt of this answer; a label that no passage there has is an invented one.
// 2. Brackets that are none of this (`[1]`, `[sic]`, `[text](address)`, `list[0]`) count as nothing.
// 3. Blocks of code are not read, and in code within a line only labels that do exist count.
// 4. Takes linear time, whatever the answer is.

import type { Citation, Citations, Passage } from '../domain/passage.ts';
import { LOOKS_LIKE_LABEL, passageLabel } from './passage-label.ts';

/** Invented labels that are told. */
const UNKNOWN_MAX = 20;

/** Longer ids are cited by their label only. */
const ID_MAX_LENGTH = 300;
const OPEN_BRACKET = /[[【]/;
/** One object for all answers: a message between threads holds it once. */
const NOTHING_CITED: Citations = { known: [], unknown: [] };
/** Brackets with none inside; some models write those of their own search tools. */
const BRACKETS = /[[【]([^[\]【】]{1,1000})[\]】]/gu;
const CODE_BLOCK = /^ {0,3}(```|~~~)[^\n]*\n[\s\S]*?(?:^ {0,3}\1[^\n]*(?:\n|$)|$(?![\s\S]))/gmu;
/** Between labels in one bracket. */
const SEPARATOR = /[,;，；、]|\s(?:and|und|et|y|&)\s|\n/u;
/** What models put before a label: `id=`, `passage id: `, `source `. */
const LEAD = /^(?:passage|source|document|doc|context|see|id|citation)s?(?:\s*[:=]\s*|\s+)/iu;
const WRAPPING = /^[\s"'`“”‘’*†^]+|[\s"'`“”‘’*]+$/gu;
/** OpenAI's models add the lines that they have read. */
const LINES = /†.*$/u;

export function citationsIn(answer: string, passages: readonly Passage[]): Citations {
  if (!OPEN_BRACKET.test(answer)) return NOTHING_CITED;
  const byName = namesOf(passages);
  const known = new Map<string, Citation>();
  const unknown = new Set<string>();
  const code = new CodeSpans(answer);
  const text = answer.replace(CODE_BLOCK, (block) => ' '.repeat(block.length));
  for (const match of text.matchAll(BRACKETS)) {
    const [whole, inside = ''] = match;
    const isLink = text.charAt(match.index + whole.length) === '(';
    for (const name of namesIn(inside, byName)) {
      const citation = byName.get(name);
      if (citation !== undefined) known.set(citation.label, citation);
      else if (!isLink && LOOKS_LIKE_LABEL.test(name) && !code.has(match.index)) unknown.add(name);
    }
  }
  return { known: [...known.values()], unknown: [...unknown].slice(0, UNKNOWN_MAX) };
}

/** By label, and by the id as the corpus has it, which some models know from the text. */
function namesOf(passages: readonly Passage[]): Map<string, Citation> {
  const names = new Map<string, Citation>();
  for (const { documentId, chunk } of passages) {
    const label = passageLabel({ documentId, chunk });
    names.set(label, { label, documentId, chunk });
  }
  for (const citation of [...names.values()]) {
    if (citation.documentId.length > ID_MAX_LENGTH) continue;
    const name = plain(`${citation.documentId}#${citation.chunk}`);
    if (!names.has(name)) names.set(name, citation);
  }
  return names;
}

/** The labels in one bracket, or what stands in their place. */
function namesIn(inside: string, byName: ReadonlyMap<string, unknown>): string[] {
  const whole = plain(inside);
  if (byName.has(whole)) return [whole];
  return inside.split(SEPARATOR).flatMap((part) => {
    const name = plain(part);
    if (name === '' || byName.has(name)) return name === '' ? [] : [name];
    const bare = plain(name.replace(LEAD, ''));
    // Labels side by side; the id of a document may have spaces itself, so this comes last.
    return byName.has(bare) ? [bare] : bare.split(' ').map(plain);
  });
}

function plain(text: string): string {
  return text
    .normalize('NFC')
    .replace(LINES, '')
    .replace(/\\(?=[\p{P}\p{S}])/gu, '')
    .replace(/\s+/gu, ' ')
    .replace(WRAPPING, '');
}

/** Code within a line: what stands behind an odd number of backticks. Asked from the front to the back. */
class CodeSpans {
  readonly #text: string;
  #at = 0;
  #isInside = false;

  constructor(text: string) {
    this.#text = text;
  }

  has(index: number): boolean {
    for (; this.#at < index; this.#at += 1) {
      const char = this.#text[this.#at];
      if (char === '\n') this.#isInside = false;
      else if (char === '`' && this.#text[this.#at - 1] !== '`') this.#isInside = !this.#isInside;
    }
    return this.#isInside;
  }
}
