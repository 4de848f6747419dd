// A document to chunks that stand by themselves in a prompt.
//
// 1. Nothing is lost or changed but space at the ends of chunks: what is no space stands in the chunks in its order.
// 2. No chunk is longer than the maximum, its heading path included.
// 3. A document that fits is one chunk, as it is.
// 4. A chunk of a longer Markdown document opens with the path of headings that lead to it ("API > Results"), as far
//    as it does not show them itself.
// 5. A chunk of a document with pages says where it begins: its source ends in `#page=<number>` (as browsers open PDFs),
//    and its metadata have `page`.

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
  /** Where it begins in the document's text. */
  readonly start: number;
}

/** Chunks in the document's order, made one by one; none when it has no text. */
export function* chunkDocument(document: CorpusDocument, sizes: ChunkSizes): Generator<CorpusChunk> {
  const text = document.text.replace(/\r\n?/g, '\n');
  const whole: MarkdownSection = { ancestors: [], heading: null, text };
  const fits = sizeOf(text) <= sizes.maxCharacters;
  const drafts = fits ? [{ path: [], section: whole, text, start: 0 }] : draftsOf(document, whole, sizes);
  let chunk = 0;
  for (const draft of drafts) {
    const shown = show(draft, sizes);
    if (shown === '') continue;
    const { id, title } = document;
    yield { documentId: id, chunk, title, text: shown, ...placeOf(draft, document) };
    chunk += 1;
  }
}

function placeOf(draft: Draft, document: CorpusDocument): Pick<CorpusChunk, 'source' | 'metadata'> {
  const { source, metadata, pageStarts } = document;
  const start = draft.start + draft.text.search(/\S/);
  const following = pageStarts.findIndex((pageStart) => pageStart > start);
  const page = following < 0 ? pageStarts.length : following;
  if (page === 0) return { source, metadata };
  return { source: `${source ?? document.id}#page=${page}`, metadata: { ...metadata, page } };
}

function* draftsOf(document: CorpusDocument, whole: MarkdownSection, sizes: ChunkSizes): Generator<Draft> {
  const sections = document.hasHeadings ? markdownSections(whole.text) : [whole];
  let last: Draft | undefined;
  let start = 0;
  for (const section of sections) {
    const innerPath = section.heading === null ? section.ancestors : [...section.ancestors, section.heading];
    const room =
      sizes.maxCharacters -
      Math.max(opening(innerPath, sizes).length, opening(section.ancestors, sizes).length);
    let path = section.ancestors;
    for (const text of piecesOf(section.text, room)) {
      const next: Draft = { path, section, text, start };
      const merged = merge(last, next, sizes);
      if (merged === null && last !== undefined) yield last;
      last = merged ?? next;
      start += text.length;
      path = innerPath;
    }
  }
  if (last !== undefined) yield last;
}

/** Both as one chunk, or null where they must not be one. */
function merge(draft: Draft | undefined, next: Draft, sizes: ChunkSizes): Draft | null {
  if (draft === undefined) return null;
  const text = draft.text + next.text;
  if (opening(draft.path, sizes).length + sizeOf(text) > sizes.maxCharacters) return null;
  const isBelow = draft.path.every((heading, depth) => next.section.ancestors[depth] === heading);
  const isSmall = sizeOf(draft.text) < sizes.minCharacters;
  if (draft.section !== next.section && !(isSmall && isBelow)) return null;
  return { path: draft.path, section: next.section, text, start: draft.start };
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
