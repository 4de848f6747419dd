// Text to vectors. One interface for the built-in lexical embedder and for embedding servers.

/** When a call has to end; where nothing is said, the embedder's own limits hold. Never without end. */
export interface EmbedLimits {
  /** For all texts of the call together. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A text that the embedder takes no vector of, while it takes others: longer than its limit, for one. */
export interface UnusableText {
  readonly kind: 'unusable';
  readonly message: string;
}

/** A text at which the embedder failed, while it makes vectors of others. */
export interface FailedText {
  readonly kind: 'failed';
  readonly error: Error;
}

export interface Embedder {
  /** Changes whenever the vectors it makes change: part of a collection's fingerprint. */
  readonly fingerprint: string;
  readonly dimensions: number;
  /** The last so many numbers of its vectors are always zero, and free for the index to use. Default: none. */
  readonly freeDimensions?: number;
  /** Vectors of corpus chunks, in the order given. */
  embedDocuments(texts: readonly string[], limits?: EmbedLimits): Promise<Float32Array[]>;
  /** Vectors of questions, in the order given; null where a question shares no term with the corpus. */
  embedQueries(
    texts: readonly string[],
    limits?: EmbedLimits,
  ): Promise<(Float32Array | UnusableText | FailedText | null)[]>;
  /**
   * 1 - distance of a question to texts as they were embedded, measured without the losses of vectors: 0 where they
   * share nothing. Only where an embedder can tell.
   */
  similarities?(question: string, texts: readonly string[]): number[];
}
