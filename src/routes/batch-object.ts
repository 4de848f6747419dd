// The batch as the API shows it: OpenAI's batch object with ragmill's own fields beside it.

import { type Static, Type } from 'typebox';
import type { Batch } from '../domain/batch.ts';
import { BATCH_STATUSES, isTerminal } from '../domain/batch-status.ts';
import { resultFileId } from '../domain/file.ts';
import { OPENAI_ENDPOINTS } from '../domain/line.ts';
import { batchOptionSchema, toWireOptions } from '../scheduler/option-schema.ts';
import type { Services } from './services.ts';

const unixTime = Type.Union([Type.Integer(), Type.Null()], {
  description: 'Unix seconds; null until it happens.',
});
const fileId = Type.Union([Type.String(), Type.Null()], {
  description: 'A file of `/v1/files`; null: nothing stands in it, or it is gone.',
});
const nullableText = Type.Union([Type.String(), Type.Null()]);
/** A record of plain strings knows no key with a line break: its value is neither checked nor written. */
export const anyKey = Type.String({ pattern: '^[\\s\\S]*$' });
const errorList = Type.Object({
  object: Type.Literal('list'),
  data: Type.Array(
    Type.Object({
      code: Type.String(),
      message: Type.String(),
      param: nullableText,
      line: Type.Union([Type.Integer(), Type.Null()], { description: '1-based; null: it is about no line.' }),
    }),
  ),
});

export const batchSchema = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('batch'),
    status: Type.Enum([...BATCH_STATUSES]),
    pause_reason: Type.Union(
      [
        Type.Object({
          code: Type.Enum(['requested', 'pause_after', 'max_failures']),
          message: Type.String(),
        }),
        Type.Null(),
      ],
      { description: 'Why the batch stands still; null unless it is paused.' },
    ),
    run: Type.Integer({ description: '1, and one more with each retry.' }),
    endpoint: Type.Enum([...OPENAI_ENDPOINTS]),
    errors: Type.Union([errorList, Type.Null()], {
      description: 'What the check of its file has found; null unless it has failed.',
    }),
    input_file_id: Type.Union([Type.String(), Type.Null()], {
      description: 'The file that it was made of, even if that is gone; null: it was uploaded to `/batches`.',
    }),
    output_file_id: fileId,
    error_file_id: fileId,
    completion_window: Type.Union([Type.String(), Type.Null()], { description: 'null: no limit.' }),
    created_at: Type.Integer(),
    in_progress_at: unixTime,
    expires_at: unixTime,
    finalizing_at: unixTime,
    completed_at: unixTime,
    failed_at: unixTime,
    expired_at: unixTime,
    cancelling_at: unixTime,
    cancelled_at: unixTime,
    request_counts: Type.Object(
      { total: Type.Integer(), completed: Type.Integer(), failed: Type.Integer() },
      { description: '`completed`: succeeded lines; `failed`: all that is neither succeeded nor open.' },
    ),
    line_counts: Type.Object(
      {
        queued: Type.Integer(),
        leased: Type.Integer(),
        succeeded: Type.Integer(),
        failed: Type.Integer(),
        cancelled: Type.Integer(),
        expired: Type.Integer(),
      },
      { description: 'Their sum is always the total.' },
    ),
    rag_counts: Type.Object({
      success: Type.Integer(),
      soft_failure: Type.Integer(),
      hard_failure: Type.Integer(),
    }),
    usage: Type.Object({
      input_tokens: Type.Integer(),
      input_tokens_details: Type.Object({ cached_tokens: Type.Integer() }),
      output_tokens: Type.Integer(),
      output_tokens_details: Type.Object({ reasoning_tokens: Type.Integer() }),
      total_tokens: Type.Integer(),
    }),
    progress: Type.Object({
      lines_per_second: Type.Number({ description: 'Over the last 30 seconds.' }),
      eta_seconds: Type.Union([Type.Integer(), Type.Null()], { description: 'null: nothing to go by.' }),
      waiting_for: Type.Union([Type.String(), Type.Null()], {
        description: 'Why nothing moves, when nothing does.',
      }),
    }),
    options: Type.Object(nullableOptions(), { description: 'All options, with the defaults at creation.' }),
    metadata: Type.Union([Type.Record(anyKey, Type.String()), Type.Null()]),
    last_seq: Type.Integer({ description: 'seq of the newest result; 0 before the first.' }),
    collection_generations: Type.Array(Type.Integer(), {
      description: 'Builds of the collection that results were made with.',
    }),
  },
  { $id: 'Batch', title: 'Batch' },
);

/** For the schemas of routes. */
export const batchRef = Type.Ref('Batch#');

function nullableOptions() {
  const {
    max_distance,
    where,
    model,
    system_prompt,
    template,
    pause_after,
    max_failures,
    completion_window,
    ...rest
  } = batchOptionSchema.properties;
  return {
    ...rest,
    max_distance: Type.Union([max_distance, Type.Null()]),
    where: Type.Union([where, Type.Null()]),
    model: Type.Union([model, Type.Null()]),
    system_prompt: Type.Union([system_prompt, Type.Null()]),
    template: Type.Union([template, Type.Null()]),
    pause_after: Type.Union([pause_after, Type.Null()]),
    max_failures: Type.Union([max_failures, Type.Null()]),
    completion_window: Type.Union([completion_window, Type.Null()]),
  };
}

export function toBatchObject(batch: Batch, services: Services): Static<typeof batchSchema> {
  const { usage } = batch;
  const { request_counts, line_counts } = countsOf(batch);
  return {
    id: batch.id,
    object: 'batch',
    status: batch.status,
    pause_reason: batch.pauseReason,
    run: batch.run,
    endpoint: batch.endpoint,
    errors: batch.errors && { object: 'list', data: batch.errors.map((error) => ({ ...error })) },
    input_file_id: batch.inputFileId,
    output_file_id: batch.outputBytes ? resultFileId(batch.id, 'output') : null,
    error_file_id: batch.errorBytes ? resultFileId(batch.id, 'error') : null,
    completion_window: batch.options.completionWindow,
    created_at: batch.createdAt,
    ...timesOf(batch),
    request_counts,
    line_counts,
    rag_counts: {
      success: batch.ragCounts.success,
      soft_failure: batch.ragCounts.softFailure,
      hard_failure: batch.ragCounts.hardFailure,
    },
    usage: {
      input_tokens: usage.promptTokens,
      input_tokens_details: { cached_tokens: usage.cachedTokens },
      output_tokens: usage.completionTokens,
      output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
      total_tokens: usage.promptTokens + usage.completionTokens,
    },
    progress: progressOf(batch, services),
    options: toWireOptions(batch.options),
    metadata: batch.metadata,
    last_seq: batch.lastSeq,
    collection_generations: [...batch.collectionGenerations],
  };
}

function timesOf(batch: Batch) {
  const { status, endedAt } = batch;
  const hasRun = isTerminal(status) && batch.inProgressAt !== null;
  return {
    in_progress_at: batch.inProgressAt,
    expires_at: batch.expiresAt,
    finalizing_at: batch.finalizingAt ?? (hasRun ? endedAt : null),
    completed_at: status === 'completed' ? endedAt : null,
    failed_at: status === 'failed' ? endedAt : null,
    expired_at: status === 'expired' ? endedAt : null,
    cancelling_at: batch.cancellingAt,
    cancelled_at: status === 'cancelled' ? endedAt : null,
  };
}

/** All 0 before the check has passed: how many lines there are is not known, whatever has been read already. */
function countsOf(batch: Batch) {
  if (batch.status === 'validating') {
    const line_counts = { queued: 0, leased: 0, succeeded: 0, failed: 0, cancelled: 0, expired: 0 };
    return { request_counts: { total: 0, completed: 0, failed: 0 }, line_counts };
  }
  const { lineCounts, total } = batch;
  const failed = lineCounts.failed + lineCounts.cancelled + lineCounts.expired;
  return {
    request_counts: { total, completed: lineCounts.succeeded, failed },
    line_counts: { ...lineCounts },
  };
}

function progressOf(batch: Batch, services: Services) {
  const open = batch.lineCounts.queued + batch.lineCounts.leased;
  const rate = services.scheduler.linesPerSecond(batch.id);
  const isChecked = batch.status !== 'validating';
  const waitingFor = open > 0 || !isChecked ? whatFor(batch, services) : null;
  return {
    lines_per_second: Math.round(rate * 100) / 100,
    eta_seconds: open > 0 && rate > 0 && waitingFor === null ? Math.ceil(open / rate) : null,
    waiting_for: waitingFor,
  };
}

function whatFor(batch: Batch, services: Services): string | null {
  if (batch.status === 'paused') return 'somebody to resume it';
  if (batch.status === 'validating') return 'its file to be checked';
  return services.waitingFor(batch.options);
}
