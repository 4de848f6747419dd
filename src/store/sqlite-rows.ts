// Rows of the database as values of the domain.

import type { SQLOutputValue } from 'node:sqlite';
import type { Batch, PauseReason } from '../domain/batch.ts';
import type { BatchStatus } from '../domain/batch-status.ts';
import type { CollectionRecord } from '../domain/collection.ts';
import type { FilePurpose, StoredFile } from '../domain/file.ts';
import type { OpenaiEndpoint } from '../domain/line.ts';
import type { BatchOptions } from '../domain/options.ts';
import type { RecordStatus, StoredRecord, StoredResponse } from '../domain/record.ts';

export type Row = Record<string, SQLOutputValue>;

/** What batches of earlier releases do not say, with what it meant then. */
const LATER_OPTIONS = {
  template: null,
  where: null,
  contextOrder: 'preserve',
  priority: 'normal',
} satisfies Partial<BatchOptions>;

export function toOptions(column: SQLOutputValue | undefined): BatchOptions {
  return { ...LATER_OPTIONS, ...JSON.parse(String(column)) };
}

export function toBatch(row: Row, nowSeconds: number): Batch {
  const number = (column: string) => Number(row[column]);
  const resultFilesExpireAt = toResultFilesExpireAt(row);
  const areFilesGone = resultFilesExpireAt !== null && resultFilesExpireAt <= nowSeconds;
  const finished = number('succeeded') + number('failed') + number('cancelled') + number('expired');
  return {
    id: String(row.id),
    // The cast is safe: rows of this shape are written by the store alone, uploads are never read as batches.
    status: row.status as BatchStatus,
    options: toOptions(row.options),
    metadata: row.metadata === null ? null : JSON.parse(String(row.metadata)),
    // The cast is safe: only endpoints of the domain are stored.
    endpoint: row.endpoint as OpenaiEndpoint,
    inputFileId: row.input_file_id === null ? null : String(row.input_file_id),
    errors: row.errors === null ? null : JSON.parse(String(row.errors)),
    outputBytes: areFilesGone ? null : nullable(row.output_bytes),
    errorBytes: areFilesGone ? null : nullable(row.error_bytes),
    resultFilesExpireAt,
    createdAt: number('created_at'),
    inProgressAt: nullable(row.in_progress_at),
    cancellingAt: nullable(row.cancelling_at),
    finalizingAt: nullable(row.finalizing_at),
    endedAt: nullable(row.ended_at),
    expiresAt: nullable(row.expires_at),
    pauseReason: toPauseReason(row),
    run: number('run'),
    total: number('total'),
    inputBytes: number('input_bytes'),
    lineCounts: {
      queued: number('total') - finished - number('leased'),
      leased: number('leased'),
      succeeded: number('succeeded'),
      failed: number('failed'),
      cancelled: number('cancelled'),
      expired: number('expired'),
    },
    ragCounts: {
      success: number('rag_success'),
      softFailure: number('rag_soft_failure'),
      hardFailure: number('rag_hard_failure'),
    },
    usage: {
      promptTokens: number('prompt_tokens'),
      completionTokens: number('completion_tokens'),
      cachedTokens: number('cached_tokens'),
      reasoningTokens: number('reasoning_tokens'),
    },
    lastSeq: number('last_seq'),
    collectionGenerations: JSON.parse(String(row.collection_generations)),
  };
}

function toResultFilesExpireAt(row: Row): number | null {
  if (row.ended_at === null || row.output_life_seconds === null) return null;
  return Number(row.ended_at) + Number(row.output_life_seconds);
}

function toPauseReason(row: Row): PauseReason | null {
  if (row.status !== 'paused' || row.pause_code === null) return null;
  return { code: row.pause_code as PauseReason['code'], message: String(row.pause_message) };
}

export function toStoredRecord(row: Row): StoredRecord {
  return {
    seq: Number(row.seq),
    line: Number(row.line),
    status: row.status as RecordStatus,
    body: String(row.body),
  };
}

export function toStoredResponse(row: Row): StoredResponse {
  const hasResponse = row.response_status !== null;
  const response = { status: Number(row.response_status), body: String(row.response) };
  return { ...toStoredRecord(row), response: hasResponse ? response : null };
}

export function toStoredFile(row: Row): StoredFile {
  return {
    id: String(row.id),
    purpose: row.purpose as FilePurpose,
    filename: String(row.filename),
    bytes: Number(row.bytes),
    createdAt: Number(row.created_at),
    expiresAt: row.expires_at === null ? null : Number(row.expires_at),
  };
}

export function toCollectionRecord(row: Row): CollectionRecord {
  return {
    generation: Number(row.generation),
    uuid: String(row.uuid),
    name: String(row.name),
    count: Number(row.count),
    fingerprint: String(row.fingerprint),
    readyAt: Number(row.ready_at),
  };
}

function nullable(value: SQLOutputValue | undefined): number | null {
  return value === null || value === undefined ? null : Number(value);
}
