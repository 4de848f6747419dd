// A plan carried out by a row of model servers, each of which reads its run from the beginning to the end.

import type { ContextOrder } from '../../src/domain/context-order.ts';
import { cutRuns } from '../../src/planning/cut-runs.ts';
import { PassageIds } from '../../src/planning/passage-ids.ts';
import type { PlanInput } from '../../src/planning/plan.ts';
import { numberLine, type PlanLine, planInputOf } from '../../src/planning/plan-input.ts';
import { planLines } from '../../src/planning/plan-lines.ts';
import { ENDPOINTS, LINE_COST, PASSAGE_COST, ServerRow } from './zipf-sets.ts';

/** Costs as in the simulation: of prefill alone. */
export const TOKEN_COSTS = { prefill: 1, decode: 0 };

export function planLineOf(passages: readonly string[], answerTokens = 0): PlanLine {
  return {
    passages,
    passageTokens: passages.map(() => PASSAGE_COST),
    questionTokens: LINE_COST,
    answerTokens,
  };
}

export function inputOf(sets: readonly (readonly string[])[], contextOrder: ContextOrder): PlanInput {
  const ids = new PassageIds();
  const lines = sets.map((set) => numberLine(planLineOf(set), ids, TOKEN_COSTS));
  return planInputOf(lines, ids, contextOrder);
}

/** The row after all is read, and the processor time of numbering, planning and cutting. */
export function plannedRow(
  sets: readonly (readonly string[])[],
  contextOrder: ContextOrder,
): { row: ServerRow; processorMs: number } {
  const before = process.threadCpuUsage();
  const input = inputOf(sets, contextOrder);
  const plan = planLines(input);
  const starts = cutRuns(plan, Array(ENDPOINTS).fill(1));
  const processorMs = process.threadCpuUsage(before).user / 1000;
  const row = new ServerRow();
  for (let endpoint = 0; endpoint < ENDPOINTS; endpoint++) {
    for (const line of plan.sequence.subarray(starts[endpoint], starts[endpoint + 1])) {
      const set = sets[line] ?? [];
      const ranks = plan.ranks.subarray(input.offsets[line], input.offsets[line + 1]);
      row.read(
        endpoint,
        Array.from(ranks, (rank) => set[rank] ?? ''),
      );
    }
  }
  return { row, processorMs };
}
