// Cuts the passages of a prompt into statements, the smallest parts that can stand as an answer: a sentence, a list
// item's sentence, a table row, a line of code. Each knows its heading and its place.

import { readBlocks } from './passage-text.ts';
import type { ContextPassage } from './prompt-reader.ts';
import { splitSentences } from './sentences.ts';
import { termsOf } from './terms.ts';

export interface Statement {
  /** 0-based rank of its passage. */
  readonly passage: number;
  readonly text: string;
  /** Its terms in their order. */
  readonly terms: readonly string[];
  readonly termSet: ReadonlySet<string>;
  /** The term that opens a list item or a table row and so names what it is about; null in prose and code. */
  readonly subjectTerm: string | null;
  /** Terms of the passage's title and of the heading above the statement. */
  readonly headingTerms: ReadonlySet<string>;
}

/** All statements of all passages, in reading order. Headings are context, not statements. */
export function readStatements(passages: readonly ContextPassage[]): Statement[] {
  const statements: Statement[] = [];
  for (const [passage, { title, text: passageText }] of passages.entries()) {
    const titleTerms = termsOf(title);
    let headingTerms = new Set(titleTerms);
    for (const block of readBlocks(passageText)) {
      if (block.kind === 'heading') {
        headingTerms = new Set([...titleTerms, ...termsOf(block.text)]);
        continue;
      }
      const isProse = block.kind === 'prose' || block.kind === 'item';
      const namesSubject = block.kind === 'row' || block.kind === 'item';
      for (const text of isProse ? splitSentences(block.text) : [block.text]) {
        const terms = termsOf(text);
        const subjectTerm = namesSubject ? (terms[0] ?? null) : null;
        statements.push({ passage, text, terms, termSet: new Set(terms), subjectTerm, headingTerms });
      }
    }
  }
  return statements;
}
