// The ending of a line, as it enters the result log.

export type RecordStatus = 'succeeded' | 'failed' | 'cancelled';

type RagStatus = 'success' | 'soft_failure' | 'hard_failure';

/** A record on its way into the store, which gives it its seq. */
export interface NewRecord {
  readonly line: number;
  readonly status: RecordStatus;
  /** null where the RAG stage did not run. */
  readonly rag: RagStatus | null;
  readonly collectionGeneration: number | null;
  /** From the error catalogue; null where the line succeeded. */
  readonly code: string | null;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  /** The result line as JSON, without its `seq`: `{"line":4,…}`. */
  readonly body: string;
}

/** A stored record; its bytes never change. */
export interface StoredRecord {
  readonly seq: number;
  readonly line: number;
  readonly status: RecordStatus;
  /** The result line as served, without the newline. */
  readonly body: string;
}
