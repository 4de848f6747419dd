// The stages that call model servers, as values. The way of a call — gate, start mark, retries, hedges — is the same for
// all of them; a stage says what is asked for, within what limits, and what follows from how it ends.

import type { CallStage } from '../domain/call-stage.ts';
import type { ModelFailure } from '../domain/failure.ts';
import type { GenerationSuccess } from '../domain/generation.ts';
import type { CallTrace } from './calls.ts';
import type { LinePrompt } from './line-prompt.ts';
import type { Work } from './work.ts';

export interface CallLimits {
  readonly maxAttempts: number;
  readonly totalTimeoutMs: number;
  readonly firstTokenTimeoutMs: number;
  readonly stallTimeoutMs: number;
}

export interface Stage {
  readonly limits: CallLimits;
  /** The model that the line wants; null: the endpoint's own. */
  modelOf(work: Work): string | null;
  promptOf(work: Work): LinePrompt;
  /** Whether another try would be in vain. */
  isFinal(failure: ModelFailure): boolean;
  /** The line's call was answered. */
  succeeded(work: Work, success: GenerationSuccess, trace: CallTrace): void;
  /** The line has no tries left; without a trace, nobody was asked. */
  failed(work: Work, failure: ModelFailure, trace: CallTrace | null): void;
}

export type Stages = Readonly<Record<CallStage, Stage>>;
