// What the planner alone makes of retrieved sets: which server is to serve which lines in which order, and how the passages
// stand in their prompts, if all is known beforehand and every server is as fast as the others.

import type { Passage } from '../../src/domain/passage.ts';

export interface PlannedLine {
  /** From 0 on. */
  readonly line: number;
  /** In the order of the prompt. */
  readonly passages: readonly Passage[];
}

/** What a planner is told beside the passages, the same for all lines. */
export interface PlanCosts {
  /** Of a token, in any unit of time. */
  readonly prefill: number;
  readonly decode: number;
  readonly questionTokens: number;
  readonly answerTokens: number;
}

/** By server, its lines in their order. null: there is no planner yet. */
export function plannedRuns(
  _sets: readonly (readonly Passage[])[],
  _contextOrder: string,
  _servers: number,
  _costs: PlanCosts,
): PlannedLine[][] | null {
  return null;
}
