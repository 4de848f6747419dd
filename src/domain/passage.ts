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

/** What was left of the passages of a prompt that had to be shorter. */
export interface ContextCut {
  /** Passages that stayed: the first ones, in their order. */
  readonly passages: number;
  /** UTF-16 units that stayed of the last one's text; null: all of it. */
  readonly characters: number | null;
}

/** What an answer cites. */
export interface Citations {
  /** Passages that stood in its prompt, each once, in the order of their first citation. */
  readonly known: readonly Citation[];
  /** Labels that no passage of the prompt has. */
  readonly unknown: readonly string[];
}

export interface Citation {
  /** As it stood in the prompt. */
  readonly label: string;
  readonly documentId: string;
  readonly chunk: number;
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
