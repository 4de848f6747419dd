// The kinds of model servers that ragmill tells apart. They differ in what they report and in how a request is
// taken back, never in how a completion is asked for; an unknown server is a generic one.

export const SERVER_KINDS = ['sglang', 'vllm', 'ollama', 'llamacpp', 'generic'] as const;

export type ServerKind = (typeof SERVER_KINDS)[number];

export interface ServedModel {
  readonly id: string;
  /** Tokens of prompt and answer together that the server allows; null: it does not say. */
  readonly contextTokens: number | null;
}

/** What a server says of its load at this moment. */
export interface ServerLoad {
  readonly running: number;
  /** In its own queue. */
  readonly waiting: number;
}

/** What a server says of itself. */
export interface ServerReport {
  readonly kind: 'report';
  readonly server: ServerKind;
  /** Its chat models; the one to take when nobody names one comes first. */
  readonly models: readonly ServedModel[];
  /** Those that make vectors or scores: only who names one gets it. */
  readonly otherModels: readonly ServedModel[];
  /** Requests that it can run at once; null: it does not say. */
  readonly maxRunning: number | null;
  /** Tokens that its KV cache holds; null: it does not say. */
  readonly kvCapacityTokens: number | null;
  /** null: it does not say. */
  readonly load: ServerLoad | null;
}
