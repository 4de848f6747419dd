// A corpus as the bootstrap sees it.

export interface CorpusDocument {
  readonly id: string;
  readonly title: string | null;
  readonly source: string | null;
  readonly text: string;
  readonly metadata: Readonly<Record<string, string | number | boolean>>;
  /** Whether headings stand in the text as in Markdown (`## Heading`). */
  readonly hasHeadings: boolean;
  /** Where each page begins, in UTF-16 code units of the text, ascending; empty where there are no pages. */
  readonly pageStarts: readonly number[];
}

/** A part of a document, small enough to stand in a prompt. */
export interface CorpusChunk {
  readonly documentId: string;
  /** 0-based part of the document. */
  readonly chunk: number;
  readonly title: string | null;
  readonly source: string | null;
  readonly text: string;
  readonly metadata: Readonly<Record<string, string | number | boolean>>;
}
