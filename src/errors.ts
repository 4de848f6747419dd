// The catalogue of errors: every code a user can meet, in one place. Codes are stable; texts may improve.

/** HTTP status and title of each code. Codes that only ever stand on a line or end a start carry status 500. */
export const catalogue = {
  // requests
  bad_request: { status: 400, title: 'The request is malformed' },
  invalid_option: { status: 400, title: 'An option is unknown or out of range' },
  forbidden_host: { status: 403, title: 'This host name is not served' },
  forbidden_origin: { status: 403, title: 'A web page may not change this service' },
  not_found: { status: 404, title: 'No such resource' },
  batch_not_found: { status: 404, title: 'No such batch' },
  collection_busy: { status: 409, title: 'The collection is in use or being built' },
  collection_read_only: { status: 409, title: 'The collection is not ours to reset' },
  endpoint_not_found: { status: 404, title: 'No such endpoint' },
  file_not_found: { status: 404, title: 'No such file' },
  file_in_use: { status: 409, title: 'The file is in use' },
  line_not_found: { status: 404, title: 'No such line' },
  upload_stalled: { status: 408, title: 'The upload is too slow' },
  batch_finished: { status: 409, title: 'The batch has already ended' },
  batch_not_finished: { status: 409, title: 'The batch has not ended yet' },
  batch_validating: { status: 409, title: 'The lines of the batch are still being checked' },
  idempotency_key_running: { status: 409, title: 'An upload with this Idempotency-Key is under way' },
  batch_deleted: { status: 410, title: 'The batch was deleted' },
  too_large: { status: 413, title: 'The upload is over a limit' },
  compression_bomb: { status: 413, title: 'The upload expands too much' },
  unsupported_media_type: { status: 415, title: 'The content type or encoding is not supported' },
  range_not_satisfiable: { status: 416, title: 'The range lies beyond the end' },
  invalid_lines: { status: 422, title: 'The upload has lines that cannot be run' },
  empty_upload: { status: 422, title: 'The upload has no lines' },
  idempotency_key_reused: { status: 422, title: 'The Idempotency-Key belongs to another upload' },
  idempotency_key_invalid: { status: 400, title: 'The Idempotency-Key is malformed' },
  upload_incomplete: { status: 400, title: 'The upload broke off' },
  invalid_encoding: { status: 400, title: 'The body is not what its encoding says' },
  too_many_uploads: { status: 429, title: 'Too many uploads at a time' },
  retrieval_unavailable: { status: 503, title: 'Retrieval does not answer' },
  storage_unavailable: { status: 503, title: 'The disk does not answer' },
  shutting_down: { status: 503, title: 'The service is shutting down' },
  storage_full: { status: 507, title: 'The disk is full' },
  storage_limit: { status: 507, title: 'The store is full' },
  internal_error: { status: 500, title: 'An unexpected error' },

  // a line's input
  line_not_json: { status: 422, title: 'The line is not JSON' },
  line_not_utf8: { status: 422, title: 'The line is not UTF-8' },
  line_not_object: { status: 422, title: 'The line is not a JSON object' },
  line_too_long: { status: 422, title: 'The line is over the length limit' },
  missing_field: { status: 422, title: 'A required field is missing' },
  invalid_field: { status: 422, title: 'A field has a value that cannot be used' },
  duplicate_custom_id: { status: 422, title: 'The custom_id stands on an earlier line' },

  // a line's way through the stages
  rag_unavailable: { status: 500, title: 'Retrieval or the RAG model could not be reached' },
  rag_timeout: { status: 500, title: 'Retrieval or the RAG model took too long' },
  rag_rejected: { status: 500, title: 'Retrieval refused the question or its filter' },
  rag_overloaded: { status: 500, title: 'The RAG model has no room' },
  rag_misconfigured: { status: 500, title: 'The RAG model is not served' },
  rag_failed: { status: 500, title: 'The RAG model failed' },
  digest_refused: { status: 500, title: 'The RAG model wrote no digest' },
  digest_cut: { status: 500, title: 'The digest was cut off' },
  digest_too_short: { status: 500, title: 'The digest is too short' },
  no_context: { status: 500, title: 'No context was found and the batch asks for one' },
  nothing_found: { status: 500, title: 'Retrieval found nothing' },
  query_unusable: { status: 500, title: 'The question could not be embedded' },
  generation_unreachable: { status: 500, title: 'No model server could be reached' },
  generation_overloaded: { status: 500, title: 'The model server has no room' },
  generation_misconfigured: { status: 500, title: 'The model server does not serve this' },
  generation_rejected: { status: 500, title: 'The model server refused the request' },
  generation_failed: { status: 500, title: 'The model server failed' },
  generation_timeout: { status: 500, title: 'The model server took too long' },
  generation_stalled: { status: 500, title: 'The answer stopped arriving' },
  generation_invalid: { status: 500, title: 'The answer could not be understood' },
  empty_answer: { status: 500, title: 'The model answered nothing' },
  cancelled: { status: 500, title: 'The line was cancelled before it was answered' },
  expired: { status: 500, title: 'The time of the batch was over before the line was answered' },
  poison: { status: 500, title: 'The line ended the process that ran it' },

  // a start that cannot succeed
  config_invalid: { status: 500, title: 'The settings are wrong' },
  data_dir_locked: { status: 500, title: 'Another process uses the data folder' },
  data_dir_unusable: { status: 500, title: 'The data folder cannot be used' },
  store_corrupt: { status: 500, title: 'The database is damaged' },
  schema_newer: { status: 500, title: 'The data folder was written by a newer release' },
  migration_failed: { status: 500, title: 'The database could not be brought to the schema of this release' },
  backup_exists: { status: 500, title: 'The file exists already' },
  backup_unusable: { status: 500, title: 'The backup cannot be used' },
  port_taken: { status: 500, title: 'The port is taken' },
  corpus_unreadable: { status: 500, title: 'The corpus cannot be read' },
  corpus_empty: { status: 500, title: 'The corpus has no text' },
  embedder_unavailable: { status: 500, title: 'The embedder cannot be reached' },
  embedder_failed: { status: 500, title: 'The embedder does not work' },
  chroma_unsupported: { status: 500, title: 'The embedded Chroma cannot run here' },
  chroma_unavailable: { status: 500, title: 'Chroma cannot be reached' },
  chroma_refused: { status: 500, title: 'Chroma refused the request' },
  collection_not_owned: { status: 500, title: 'The collection belongs to somebody else' },
  collection_missing: { status: 500, title: 'The collection to attach to is not there' },
  collection_mismatch: { status: 500, title: 'The collection was filled by another embedder' },
  collection_vanished: { status: 500, title: 'The collection was deleted while it was being built' },
  collection_incomplete: { status: 500, title: 'The collection does not hold what was put in' },
  rank_lost: { status: 500, title: 'Rank 0 was taken anew meanwhile' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ErrorCode = keyof typeof catalogue;

/** One bad line of an upload, as the answer lists it. */
export interface LineProblem {
  readonly line: number;
  /** Of the catalogue, or of those that OpenAI's batches have. */
  readonly code: string;
  readonly message: string;
  /** The field of the line that is wrong, where that is told apart. */
  readonly param?: string | null;
}

interface ErrorDetails {
  readonly cause?: unknown;
  readonly lines?: readonly LineProblem[];
  readonly mayPass?: boolean;
  readonly param?: string;
}

/** An error with a code from the catalogue. `message` says what is wrong, where, and what to do. */
export class RagmillError extends Error {
  override readonly name = 'RagmillError';
  readonly code: ErrorCode;
  readonly lines: readonly LineProblem[];
  /** The same request may succeed later, where the code means so; false: it has to be another one. */
  readonly mayPass: boolean;
  /** The field of the request that is wrong; null: none by itself, or it is not told apart. */
  readonly param: string | null;

  constructor(code: ErrorCode, message: string, options: ErrorDetails = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.lines = options.lines ?? [];
    this.mayPass = options.mayPass ?? true;
    this.param = options.param ?? null;
  }

  get status(): number {
    return catalogue[this.code].status;
  }

  get title(): string {
    return catalogue[this.code].title;
  }
}
