// The result line of every ending a line can have. Field names and order are the API's.

import type { GenerationSuccess, TokenUsage } from '../domain/generation.ts';
import type { Citations, ContextCut, RetrievalOutcome } from '../domain/passage.ts';
import type { NewRecord, RecordDetails, RecordStatus, ServerResponse, Stage } from '../domain/record.ts';
import type { CallTrace } from './calls.ts';
import type { Digest } from './digest.ts';
import { fileLineBytes } from './file-line.ts';
import { passagesOf, type Work } from './work.ts';

export interface LineError {
  readonly code: string;
  readonly message: string;
  readonly stage: Stage;
}

const OK = 200;

/** The line was answered. */
export function succeededRecord(work: Work, success: GenerationSuccess, trace: CallTrace): NewRecord {
  const usage = usageOf(success.usage, work.digest?.usage ?? null);
  const response = success.response === null ? null : { status: OK, body: success.response };
  const body = {
    line: work.line,
    custom_id: work.parsed.customId,
    status: 'succeeded',
    // What answers with something else than text has none.
    answer: success.response !== null && success.answer === '' ? null : success.answer,
    ...(success.finishReason === 'length' ? { truncated: true } : {}),
    ...citationPart(success.citations),
    metadata: work.parsed.metadata,
    rag: ragPart(work),
    generation: {
      status: 'success',
      attempts: work.state.attempts,
      endpoint: trace.endpoint,
      model: success.model,
      finish_reason: success.finishReason,
      ...(success.isContextTruncated ? { context_truncated: true } : {}),
    },
    usage,
    timings_ms: timings(work, trace.durationMs),
    error: null,
  };
  return {
    ...recordHead(work, { status: 'succeeded', error: null, trace, usage: success.usage }),
    response,
    fileBytes: fileLineBytes(body, response, work.chunk.lease.batchId),
    body: JSON.stringify(body),
  };
}

/** The line failed in the RAG stage or in generation. `refusal`: what the model server had to say of its request. */
export function failedRecord(
  work: Work,
  error: LineError,
  trace: CallTrace | null,
  refusal: ServerResponse | null = null,
): NewRecord {
  const generation =
    error.stage === 'generation'
      ? {
          status: 'failure',
          attempts: work.state.attempts,
          endpoint: trace?.endpoint ?? null,
          model: trace?.model ?? null,
          finish_reason: null,
        }
      : null;
  const usage = work.digest?.usage ? usageOf(work.digest.usage, null) : null;
  const body = {
    line: work.line,
    custom_id: work.parsed.customId,
    status: 'failed',
    answer: null,
    citations: [],
    metadata: work.parsed.metadata,
    rag: ragPart(work),
    generation,
    usage,
    timings_ms: timings(work, trace?.durationMs ?? 0),
    error,
  };
  return {
    ...recordHead(work, { status: 'failed', error, trace, usage: null }),
    response: refusal,
    fileBytes: fileLineBytes(body, refusal, work.chunk.lease.batchId),
    body: JSON.stringify(body),
  };
}

/** The line never ran: its input is bad, or its batch ended before. */
export function unrunRecord(
  line: { batchId: string; line: number; customId: string | null; metadata: unknown },
  ending: { status: 'failed' | 'cancelled' | 'expired'; error: LineError },
): NewRecord {
  const body = {
    line: line.line,
    custom_id: line.customId,
    status: ending.status,
    answer: null,
    citations: [],
    metadata: line.metadata,
    rag: null,
    generation: null,
    usage: null,
    timings_ms: null,
    error: ending.error,
  };
  return {
    line: line.line,
    status: ending.status,
    rag: null,
    collectionGeneration: null,
    code: ending.error.code,
    stage: ending.error.stage,
    endpoint: null,
    details: null,
    promptTokens: 0,
    completionTokens: 0,
    cachedTokens: 0,
    reasoningTokens: 0,
    response: null,
    fileBytes: fileLineBytes(body, null, line.batchId),
    body: JSON.stringify(body),
  };
}

const UNSTORABLE_CODE = 'internal_error';

/** In the place of a record that the store does not take: the line ends all the same. */
export function unstorableRecord(record: NewRecord, batchId: string): NewRecord {
  const { custom_id, metadata } = JSON.parse(record.body) as { custom_id: string | null; metadata: unknown };
  const message = 'The result of this line could not be stored; the log has it under the batch and the line.';
  const error = { code: UNSTORABLE_CODE, message, stage: 'generation' } as const;
  const line = { batchId, line: record.line, customId: custom_id, metadata };
  return unrunRecord(line, { status: 'failed', error });
}

export function isSubstitute(record: NewRecord): boolean {
  return record.code === UNSTORABLE_CODE && record.details === null;
}

interface WireUsage {
  readonly prompt_tokens: number | null;
  readonly completion_tokens: number | null;
  readonly cached_tokens: number | null;
}

/** Of the answer and of the digest that it was made from, together. */
function usageOf(usage: TokenUsage, digest: TokenUsage | null): WireUsage {
  return {
    prompt_tokens: sum(usage.promptTokens, digest?.promptTokens),
    completion_tokens: sum(usage.completionTokens, digest?.completionTokens),
    cached_tokens: sum(usage.cachedTokens, digest?.cachedTokens),
  };
}

/** Unknown counts add nothing; null: both are unknown. */
function sum(a: number | null, b: number | null = null): number | null {
  return a === null && b === null ? null : (a ?? 0) + (b ?? 0);
}

/** `usage`: of the answer. */
function recordHead(
  work: Work,
  ended: { status: RecordStatus; error: LineError | null; trace: CallTrace | null; usage: TokenUsage | null },
): Omit<NewRecord, 'body' | 'response' | 'fileBytes'> {
  const { status, error, trace, usage } = ended;
  const { retrieval, digest } = work;
  const total = (name: keyof TokenUsage) => (usage?.[name] ?? 0) + (digest?.usage?.[name] ?? 0);
  return {
    line: work.line,
    status,
    code: error?.code ?? null,
    stage: error?.stage ?? null,
    endpoint: trace?.endpoint ?? digest?.endpoint ?? null,
    rag: digest?.kind ?? retrieval?.kind ?? null,
    collectionGeneration: generationOf(retrieval),
    promptTokens: total('promptTokens'),
    completionTokens: total('completionTokens'),
    cachedTokens: total('cachedTokens'),
    reasoningTokens: total('reasoningTokens'),
    details: detailsOf(work, trace),
  };
}

/** What the calls for a digest left is told apart from what those for the answer did. */
function detailsOf({ stage, state, passageHashes, digest }: Work, trace: CallTrace | null): RecordDetails {
  const isAnswering = stage === 'generation';
  return {
    attempts: isAnswering ? state.tries : [],
    passages: passageHashes,
    ...(isAnswering && state.contextCut !== null ? { contextCut: state.contextCut } : {}),
    ...(isAnswering && state.passageOrder !== null ? { passageOrder: state.passageOrder } : {}),
    promptHash: isAnswering ? state.promptHash : null,
    model: trace?.model ?? null,
    ...(digest === null ? {} : { digest: digest.details }),
  };
}

function citationPart({ known, unknown }: Citations) {
  const citations = known.map(({ label, documentId, chunk }) => ({ label, id: documentId, chunk }));
  return { citations, ...(unknown.length === 0 ? {} : { unknown_citations: unknown }) };
}

function ragPart(work: Work) {
  const { retrieval, digest, state } = work;
  const contextCut = digest?.details.contextCut ?? state.contextCut;
  if (retrieval === null) return null;
  const ending = digest ?? retrieval;
  const documents = passagesOf(work).map((passage) => ({
    id: passage.documentId,
    chunk: passage.chunk,
    distance: passage.distance,
    title: passage.title,
    source: passage.source,
  }));
  return {
    status: ending.kind,
    attempts: ending.attempts,
    collection_generation: generationOf(retrieval),
    documents: ending.kind === 'success' ? documents : [],
    ...(contextCut === null ? {} : { context_cut: cutPart(contextCut) }),
    ...(digest === null ? {} : { digest: digestPart(digest) }),
    ...(ending.kind === 'success' ? {} : { code: ending.code, message: ending.message }),
  };
}

function cutPart({ passages, characters }: ContextCut) {
  return { passages_used: passages, ...(characters === null ? {} : { last_passage_characters: characters }) };
}

function digestPart({ attempts, endpoint, model, usage, isContextTruncated }: Digest) {
  return {
    attempts,
    endpoint,
    model,
    usage: usage && usageOf(usage, null),
    ...(isContextTruncated ? { context_truncated: true } : {}),
  };
}

function generationOf(retrieval: RetrievalOutcome | null): number | null {
  return retrieval && 'collectionGeneration' in retrieval ? retrieval.collectionGeneration : null;
}

function timings(work: Work, generationMs: number) {
  return {
    queued: Math.round(work.queuedMs),
    retrieval: Math.round(work.retrievalMs),
    rag: Math.round(work.digest?.durationMs ?? 0),
    generation: Math.round(generationMs),
  };
}
