// How lines become the planner's input.

import type { ContextOrder } from '../domain/context-order.ts';
import type { PassageIds } from './passage-ids.ts';
import type { PlanInput } from './plan.ts';

/** What the planner needs to know of a line. */
export interface PlanLine {
  /** What names a passage, in ranking order: the same key, the same text in every prompt. */
  readonly passages: readonly string[];
  /** Tokens of each. */
  readonly passageTokens: readonly number[];
  readonly questionTokens: number;
  /** Tokens that the answer is expected to have. */
  readonly answerTokens: number;
}

/** What a token costs an endpoint, in any unit of time. */
export interface TokenCosts {
  readonly prefill: number;
  readonly decode: number;
}

/** A line with numbers for its passages. */
export interface NumberedLine {
  readonly passages: Uint32Array;
  readonly ownCost: number;
  readonly answerTokens: number;
}

export function numberLine(line: PlanLine, ids: PassageIds, costs: TokenCosts): NumberedLine {
  const { passages, passageTokens, questionTokens, answerTokens } = line;
  return {
    passages: Uint32Array.from(passages, (key, rank) =>
      ids.hold(key, costs.prefill * (passageTokens[rank] ?? 0)),
    ),
    ownCost: costs.prefill * questionTokens + costs.decode * answerTokens,
    answerTokens,
  };
}

/** The passages of the input have numbers of their own, in the order in which they come up. */
export function planInputOf(
  lines: readonly NumberedLine[],
  ids: PassageIds,
  contextOrder: ContextOrder,
): PlanInput {
  const offsets = new Uint32Array(lines.length + 1);
  for (const [line, { passages }] of lines.entries())
    offsets[line + 1] = (offsets[line] ?? 0) + passages.length;
  const passages = new Uint32Array(offsets.at(-1) ?? 0);
  // By id: 1 more than the passage's number here.
  const numbers = new Uint32Array(ids.limit);
  const costs: number[] = [];
  let end = 0;
  for (const line of lines) {
    for (const id of line.passages) {
      if (numbers[id] === 0) numbers[id] = costs.push(ids.costOf(id));
      passages[end] = (numbers[id] ?? 0) - 1;
      end += 1;
    }
  }
  return {
    contextOrder,
    offsets,
    passages,
    passageCosts: Float64Array.from(costs),
    ownCosts: Float64Array.from(lines, ({ ownCost }) => ownCost),
    answerTokens: Float64Array.from(lines, ({ answerTokens }) => answerTokens),
  };
}
