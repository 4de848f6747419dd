// A corpus as the bootstrap sees it.

export interface CorpusDocument {
  readonly id: string;
  readonly title: string | null;
  readonly source: string | null;
  readonly text: string;
  readonly metadata: Readonly<Record<string, string | number | boolean>>;
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
