// What retrieval finds: a part of a corpus document, with its distance to the question.

export interface Passage {
  /** The corpus's own document id. */
  readonly documentId: string;
  /** 0-based part of the document. */
  readonly chunk: number;
  readonly title: string | null;
  /** Where the document came from: a path or URL, as the corpus says. */
  readonly source: string | null;
  readonly text: string;
  /** 0 = as near as can be, 1 = nothing in common (lexical default). */
  readonly distance: number;
}

/** How the RAG stage's retrieval ended for one question, after so many attempts. */
export type RetrievalOutcome = { readonly attempts: number } & (
  | {
      readonly kind: 'success';
      readonly passages: readonly Passage[];
      readonly collectionGeneration: number;
    }
  | {
      readonly kind: 'soft_failure';
      readonly code: string;
      readonly message: string;
      readonly collectionGeneration: number;
    }
  | { readonly kind: 'hard_failure'; readonly code: string; readonly message: string }
);
