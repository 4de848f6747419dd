// The stage of generation: the line is answered from its passages, or from their digest, and ends with a record.

import type { NewRecord } from '../domain/record.ts';
import type { Metrics } from '../metrics.ts';
import { answerPrompt } from './line-prompt.ts';
import { failedRecord, succeededRecord } from './result-record.ts';
import type { CallLimits, Stage } from './stages.ts';
import { passagesOf, type Work } from './work.ts';

export interface AnsweringOptions {
  readonly limits: CallLimits;
  readonly defaultSystemPrompt: string;
  readonly metrics: Metrics;
  readonly onRecord: (work: Work, record: NewRecord) => void;
}

const NO_ROOM_FOR_CONTEXT = {
  code: 'no_context',
  message:
    "The model's context has no room for a passage beside the question and the answer, and the batch asks for context (on_no_context=fail). Lower max_tokens.",
  stage: 'rag',
} as const;

export function answering({ limits, defaultSystemPrompt, metrics, onRecord }: AnsweringOptions): Stage {
  return {
    limits,
    modelOf: ({ parsed }) => parsed.options.model,
    promptOf: (work) => {
      const digest = work.digest?.details ?? null;
      const { parsed, state } = work;
      const { passageOrder } = state;
      return answerPrompt({ parsed, passages: passagesOf(work), passageOrder, digest }, defaultSystemPrompt);
    },
    isFinal: ({ code, isToolCall }) => code === 'poison' || isToolCall === true,
    succeeded(work, success, trace) {
      if (success.isContextTruncated) metrics.contextTruncated.inc({ endpoint: trace.endpoint });
      if (success.contextCut) metrics.contextCuts.inc({ reason: success.isShortened ? 'refused' : 'budget' });
      metrics.stageDuration.observe({ stage: 'queued' }, work.queuedMs / 1000);
      metrics.stageDuration.observe({ stage: 'generation' }, trace.durationMs / 1000);
      // What fits the model without any passage is an answer without context.
      if (success.contextCut?.passages === 0 && work.parsed.options.onNoContext === 'fail') {
        onRecord(work, failedRecord(work, NO_ROOM_FOR_CONTEXT, trace));
      } else onRecord(work, succeededRecord(work, success, trace));
    },
    failed(work, { code, message, refusal }, trace) {
      onRecord(work, failedRecord(work, { code, message, stage: 'generation' }, trace, refusal));
    },
  };
}
