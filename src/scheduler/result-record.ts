// The result line of every ending a line can have. Field names and order are the API's.

import type { GenerationSuccess } from '../domain/generation.ts';
import type { Citations, ContextCut } from '../domain/passage.ts';
import type { NewRecord, RecordDetails, RecordStatus, Stage } from '../domain/record.ts';
import type { Work } from './work.ts';

export interface LineError {
  readonly code: string;
  readonly message: string;
  readonly stage: Stage;
}

export interface GenerationTrace {
  readonly endpoint: string;
  readonly model: string;
  readonly durationMs: number;
}

/** The line was answered. */
export function succeededRecord(work: Work, success: GenerationSuccess, trace: GenerationTrace): NewRecord {
  const usage = {
    prompt_tokens: success.usage.promptTokens,
    completion_tokens: success.usage.completionTokens,
    cached_tokens: success.usage.cachedTokens,
  };
  const body = {
    line: work.line,
    custom_id: work.parsed.customId,
    status: 'succeeded',
    answer: success.answer,
    ...(success.finishReason === 'length' ? { truncated: true } : {}),
    ...citationPart(success.citations),
    metadata: work.parsed.metadata,
    rag: ragPart(work),
    generation: {
      status: 'success',
      attempts: work.attempts,
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
    ...recordHead(work, 'succeeded', null, trace),
    promptTokens: success.usage.promptTokens ?? 0,
    completionTokens: success.usage.completionTokens ?? 0,
    cachedTokens: success.usage.cachedTokens ?? 0,
    body: JSON.stringify(body),
  };
}

/** The line failed in the RAG stage or in generation. */
export function failedRecord(work: Work, error: LineError, trace: GenerationTrace | null): NewRecord {
  const generation =
    error.stage === 'generation'
      ? {
          status: 'failure',
          attempts: work.attempts,
          endpoint: trace?.endpoint ?? null,
          model: trace?.model ?? null,
          finish_reason: null,
        }
      : null;
  const body = {
    line: work.line,
    custom_id: work.parsed.customId,
    status: 'failed',
    answer: null,
    citations: [],
    metadata: work.parsed.metadata,
    rag: ragPart(work),
    generation,
    usage: null,
    timings_ms: timings(work, trace?.durationMs ?? 0),
    error,
  };
  return { ...recordHead(work, 'failed', error, trace), body: JSON.stringify(body) };
}

/** The line never ran: its input is bad, or its batch ended before. */
export function unrunRecord(
  line: { line: number; customId: string | null; metadata: unknown },
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
    body: JSON.stringify(body),
  };
}

const UNSTORABLE_CODE = 'internal_error';

/** In the place of a record that the store does not take: the line ends all the same. */
export function unstorableRecord(record: NewRecord): NewRecord {
  const { custom_id, metadata } = JSON.parse(record.body) as { custom_id: string | null; metadata: unknown };
  const message = 'The result of this line could not be stored; the log has it under the batch and the line.';
  const error = { code: UNSTORABLE_CODE, message, stage: 'generation' } as const;
  return unrunRecord({ line: record.line, customId: custom_id, metadata }, { status: 'failed', error });
}

export function isSubstitute(record: NewRecord): boolean {
  return record.code === UNSTORABLE_CODE && record.details === null;
}

function recordHead(
  work: Work,
  status: RecordStatus,
  error: LineError | null,
  trace: GenerationTrace | null,
): Omit<NewRecord, 'body'> {
  const { retrieval } = work;
  return {
    line: work.line,
    status,
    code: error?.code ?? null,
    stage: error?.stage ?? null,
    endpoint: trace?.endpoint ?? null,
    rag: retrieval?.kind ?? null,
    collectionGeneration:
      retrieval && 'collectionGeneration' in retrieval ? retrieval.collectionGeneration : null,
    promptTokens: 0,
    completionTokens: 0,
    cachedTokens: 0,
    details: detailsOf(work, trace),
  };
}

function detailsOf(work: Work, trace: GenerationTrace | null): RecordDetails {
  return {
    attempts: work.tries,
    passages: work.passageHashes,
    ...(work.contextCut === null ? {} : { contextCut: work.contextCut }),
    promptHash: work.promptHash,
    model: trace?.model ?? null,
  };
}

function citationPart({ known, unknown }: Citations) {
  const citations = known.map(({ label, documentId, chunk }) => ({ label, id: documentId, chunk }));
  return { citations, ...(unknown.length === 0 ? {} : { unknown_citations: unknown }) };
}

function ragPart({ retrieval, contextCut }: Work) {
  if (retrieval === null) return null;
  const documents =
    retrieval.kind === 'success'
      ? retrieval.passages.map((passage) => ({
          id: passage.documentId,
          chunk: passage.chunk,
          distance: passage.distance,
          title: passage.title,
          source: passage.source,
        }))
      : [];
  return {
    status: retrieval.kind,
    attempts: retrieval.attempts,
    collection_generation: 'collectionGeneration' in retrieval ? retrieval.collectionGeneration : null,
    documents,
    ...(contextCut === null ? {} : { context_cut: cutPart(contextCut) }),
    ...(retrieval.kind === 'success' ? {} : { code: retrieval.code, message: retrieval.message }),
  };
}

function cutPart({ passages, characters }: ContextCut) {
  return { passages_used: passages, ...(characters === null ? {} : { last_passage_characters: characters }) };
}

function timings(work: Work, generationMs: number) {
  return {
    queued: Math.round(work.queuedMs),
    retrieval: Math.round(work.retrievalMs),
    rag: 0,
    generation: Math.round(generationMs),
  };
}
