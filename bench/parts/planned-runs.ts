// What the planner alone makes of retrieved sets: which server is to serve which lines in which order, and how the passages
// stand in their prompts, if all is known beforehand and every server is as fast as the others.

import type { ContextOrder } from '../../src/domain/context-order.ts';
import type { Passage } from '../../src/domain/passage.ts';
import { cutRuns } from '../../src/planning/cut-runs.ts';
import { PassageIds } from '../../src/planning/passage-ids.ts';
import { numberLine, planInputOf } from '../../src/planning/plan-input.ts';
import { planLines } from '../../src/planning/plan-lines.ts';

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

const CHARACTERS_A_TOKEN = 4;

/** By server, its lines in their order. */
export function plannedRuns(
  sets: readonly (readonly Passage[])[],
  contextOrder: string,
  servers: number,
  { prefill, decode, questionTokens, answerTokens }: PlanCosts,
): PlannedLine[][] {
  const ids = new PassageIds();
  const lines = sets.map((set) => {
    const passages = set.map(({ documentId, chunk }) => `${documentId}#${chunk}`);
    const passageTokens = set.map(({ text }) => text.length / CHARACTERS_A_TOKEN);
    return numberLine({ passages, passageTokens, questionTokens, answerTokens }, ids, { prefill, decode });
  });
  const input = planInputOf(lines, ids, contextOrder as ContextOrder);
  const plan = planLines(input);
  const starts = cutRuns(plan, new Array<number>(servers).fill(1));
  return Array.from({ length: servers }, (_, server) =>
    [...plan.sequence.subarray(starts[server], starts[server + 1])].map((line) => {
      const ranks = plan.ranks.subarray(input.offsets[line], input.offsets[line + 1]);
      return { line, passages: [...ranks].flatMap((rank) => sets[line]?.[rank] ?? []) };
    }),
  );
}
