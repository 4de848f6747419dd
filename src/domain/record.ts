// The ending of a line, as it enters the result log.

import type { CallStage } from './call-stage.ts';
import type { ContextCut, Passage } from './passage.ts';

export type RecordStatus = 'succeeded' | 'failed' | 'cancelled' | 'expired';

export type RagStatus = 'success' | 'soft_failure' | 'hard_failure';

export type Stage = 'input' | CallStage;

/** A passage as it is kept: its distance belongs to the question. */
export type KeptPassage = Omit<Passage, 'distance'>;

/** One call to a model server. */
export interface Attempt {
  readonly endpoint: string;
  /** `success`, or the class of the failure. */
  readonly ending: string;
  readonly code: string | null;
  readonly message: string | null;
  readonly durationMs: number;
}

/** What GET …/lines/:line tells beyond the result: enough to build the line's prompt again. */
export interface RecordDetails {
  readonly attempts: readonly Attempt[];
  /** Content hashes of the passages retrieved, in their order. */
  readonly passages: readonly string[];
  /** How they were cut to fit the prompt that was sent last; absent: they were not. */
  readonly contextCut?: ContextCut;
  /** For each place in that prompt the rank of the passage there; absent: in ranking order. */
  readonly passageOrder?: readonly number[];
  /** SHA-256 of the request body as sent; null where nothing was sent. */
  readonly promptHash: string | null;
  /** The model that was asked for; null where nothing was sent. */
  readonly model: string | null;
  /** null where no digest was asked for; records of earlier releases do not have it. */
  readonly digest?: DigestDetails | null;
}

/** The same of the call that wrote the line's digest. */
export interface DigestDetails {
  readonly attempts: readonly Attempt[];
  readonly promptHash: string | null;
  /** How its passages were cut to fit; absent: they were not. */
  readonly contextCut?: ContextCut;
  readonly passageOrder?: readonly number[];
  readonly model: string | null;
  readonly maxTokens: number;
  /** What stood in the line's prompt in the place of the passages; null: it could not be used. */
  readonly text: string | null;
}

/** The answer of a model server as it came, or its refusal. */
export interface ServerResponse {
  /** HTTP status. */
  readonly status: number;
  /** JSON in one line. */
  readonly body: string;
}

/** A record on its way into the store, which gives it its seq. */
export interface NewRecord {
  readonly line: number;
  readonly status: RecordStatus;
  /** null where the RAG stage did not run. */
  readonly rag: RagStatus | null;
  readonly collectionGeneration: number | null;
  /** From the error catalogue; null where the line succeeded. */
  readonly code: string | null;
  /** Where it failed; null where it did not, or did not run. */
  readonly stage: Stage | null;
  /** The last endpoint that was asked; null: none. */
  readonly endpoint: string | null;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  /** As far as servers report them. */
  readonly reasoningTokens: number;
  /** What the model server answered, for a line in OpenAI's shape: JSON as it came, in one line; null: nothing that counts. */
  readonly response: ServerResponse | null;
  /** Size of the line's entry in the batch's output or error file, with its newline. */
  readonly fileBytes: number;
  /** null where the line never ran. */
  readonly details: RecordDetails | null;
  /** The result line as JSON, without its `seq`: `{"line":4,…}`. */
  readonly body: string;
}

/** A stored record with what it becomes in a file. */
export interface StoredResponse extends StoredRecord {
  readonly response: ServerResponse | null;
}

/** A stored record; its bytes never change. */
export interface StoredRecord {
  readonly seq: number;
  readonly line: number;
  readonly status: RecordStatus;
  /** The result line as served, without the newline. */
  readonly body: string;
}
