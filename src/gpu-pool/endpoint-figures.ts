// What is counted and averaged of an endpoint's requests.

import type { CallStage } from '../domain/call-stage.ts';
import type { FailureClass } from '../domain/failure.ts';
import type { GenerationOutcome, GenerationSuccess } from '../domain/generation.ts';

/** Weight of the newest answer in the average: about the last twenty count. */
const NEWEST_SHARE = 0.1;
/** Fewer answers tell no average. */
const ANSWERS_MIN = 5;
/** Characters of an answer that make a token where the server does not count: English prose, roughly. */
const CHARACTERS_PER_TOKEN = 4;

export class EndpointFigures {
  readonly requests: Record<'success' | FailureClass, number> = {
    success: 0,
    hard: 0,
    overload: 0,
    misconfigured: 0,
    request: 0,
    ambiguous: 0,
    cancelled: 0,
  };
  readonly #all = new MeanDuration();
  /** A digest and an answer take their own time. */
  readonly #byStage: Readonly<Record<CallStage, MeanDuration>> = {
    rag: new MeanDuration(),
    generation: new MeanDuration(),
  };

  ended(outcome: GenerationOutcome, durationMs: number, stage: CallStage): void {
    this.requests[outcome.kind === 'success' ? 'success' : outcome.class] += 1;
    if (outcome.kind !== 'success') return;
    this.#all.add(durationMs);
    this.#byStage[stage].add(durationMs);
  }

  /** How long an answer takes, in milliseconds; null: not known yet. */
  get meanDurationMs(): number | null {
    return this.#all.ms;
  }

  /** Of the calls of one stage. */
  meanDurationMsOf(stage: CallStage): number | null {
    return this.#byStage[stage].ms;
  }
}

class MeanDuration {
  #answers = 0;
  #ms = 0;

  add(durationMs: number): void {
    this.#answers += 1;
    this.#ms += Math.max(NEWEST_SHARE, 1 / this.#answers) * (durationMs - this.#ms);
  }

  get ms(): number | null {
    return this.#answers < ANSWERS_MIN ? null : this.#ms;
  }
}

/** Length of an answer, at least 1; estimated where the server does not count. */
export function tokensOf(outcome: GenerationSuccess): number {
  return Math.max(1, outcome.usage.completionTokens ?? outcome.answer.length / CHARACTERS_PER_TOKEN);
}
