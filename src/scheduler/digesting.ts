// The stage of the RAG model, in digest mode: it reads the passages of a line and writes what in them answers the
// question.
//
// (P1) A digest that cannot be used, or that the model refuses to write, is a soft failure: the question goes alone.
// (P2) A server that cannot be reached, or fails, for as long as the line may try, is a hard one: nothing is generated.

import type { ModelFailure } from '../domain/failure.ts';
import type { GenerationSuccess } from '../domain/generation.ts';
import type { ErrorCode } from '../errors.ts';
import { type JudgedDigest, judgeDigest } from '../generation/digest-prompt.ts';
import type { Metrics } from '../metrics.ts';
import type { CallTrace } from './calls.ts';
import type { Digest, DigestEnding } from './digest.ts';
import { digestPrompt } from './line-prompt.ts';
import type { SchedulerLog } from './record-writer.ts';
import type { CallLimits, Stage } from './stages.ts';
import { passagesOf, type Work } from './work.ts';

export interface DigestSettings {
  readonly limits: CallLimits;
  /** `batch`: the one that the line is answered by; null: the endpoint's own. */
  readonly model: { readonly name: string | null } | 'batch';
  readonly maxTokens: number;
  /** How long lines wait when no endpoint of the RAG model is up. */
  readonly outageMs: number;
}

export interface DigestingOptions {
  readonly settings: DigestSettings;
  readonly metrics: Metrics;
  readonly log: SchedulerLog;
  /** `work.digest` says how it ended. */
  readonly onDigest: (work: Work) => void;
}

/** What it has written is not about any passage. */
const NO_ROOM: JudgedDigest = {
  kind: 'unusable',
  code: 'digest_refused',
  message: "The RAG model's context has no room for a passage. Lower RAG_DIGEST_MAX_TOKENS.",
};

/** What a failure of a model server is called where it was asked for a digest. */
const RAG_CODES: Readonly<Record<string, ErrorCode>> = {
  generation_unreachable: 'rag_unavailable',
  generation_overloaded: 'rag_overloaded',
  generation_misconfigured: 'rag_misconfigured',
  generation_timeout: 'rag_timeout',
  generation_stalled: 'rag_timeout',
  poison: 'poison',
};

export function digesting({ settings, metrics, log, onDigest }: DigestingOptions): Stage {
  const end = (work: Work, trace: CallTrace | null, ending: DigestEnding, success?: GenerationSuccess) => {
    work.digest = digestOf(work, trace, { ending, success, maxTokens: settings.maxTokens });
    metrics.stageDuration.observe({ stage: 'rag' }, work.digest.durationMs / 1000);
    onDigest(work);
  };
  return {
    limits: settings.limits,
    modelOf: ({ parsed }) => (settings.model === 'batch' ? parsed.options.model : settings.model.name),
    promptOf: (work) => {
      const { parsed, state } = work;
      const { passageOrder } = state;
      return digestPrompt({ parsed, passages: passagesOf(work), passageOrder }, settings.maxTokens);
    },
    // The same prompt at the same temperature: what has nothing to say now will not have it later.
    isFinal: ({ code }) => code === 'empty_answer' || code === 'poison',
    succeeded(work, success, trace) {
      if (success.isContextTruncated) metrics.contextTruncated.inc({ endpoint: trace.endpoint });
      if (success.contextCut) metrics.contextCuts.inc({ reason: success.isShortened ? 'refused' : 'budget' });
      const judged = success.contextCut?.passages === 0 ? NO_ROOM : judgeDigest(success);
      const ending: DigestEnding =
        judged.kind === 'usable'
          ? { kind: 'success', text: judged.text }
          : { kind: 'soft_failure', code: judged.code, message: judged.message };
      end(work, trace, ending, success);
    },
    failed(work, failure, trace) {
      const ending = endingOf(failure);
      if (ending.kind === 'hard_failure') {
        const { batchId: batch } = work.chunk.lease;
        const fields = { batch, line: work.line, endpoint: trace?.endpoint, ...ending };
        log.warn(fields, 'a digest failed: its line is not generated');
      }
      end(work, trace, ending);
    },
  };
}

function endingOf({ code, class: failureClass, message }: ModelFailure): DigestEnding & { kind: string } {
  if (code === 'empty_answer') return { kind: 'soft_failure', code: 'digest_too_short', message };
  if (failureClass === 'request' && code !== 'poison') {
    return { kind: 'soft_failure', code: 'digest_refused', message };
  }
  return { kind: 'hard_failure', code: RAG_CODES[code] ?? 'rag_failed', message };
}

function digestOf(
  { state }: Work,
  trace: CallTrace | null,
  from: { ending: DigestEnding; success: GenerationSuccess | undefined; maxTokens: number },
): Digest {
  const { ending, success, maxTokens } = from;
  return {
    ...ending,
    attempts: state.attempts,
    endpoint: trace?.endpoint ?? null,
    model: success?.model ?? trace?.model ?? null,
    usage: success?.usage ?? null,
    isContextTruncated: success?.isContextTruncated ?? false,
    durationMs: trace?.durationMs ?? 0,
    details: {
      attempts: state.tries,
      promptHash: state.promptHash,
      ...(state.contextCut === null ? {} : { contextCut: state.contextCut }),
      ...(state.passageOrder === null ? {} : { passageOrder: state.passageOrder }),
      model: trace?.model ?? null,
      maxTokens,
      text: ending.kind === 'success' ? ending.text : null,
    },
  };
}
