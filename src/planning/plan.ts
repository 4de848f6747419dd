// What a planner is given and what it gives back: typed arrays throughout, so that both are copied to another thread
// in no time. A line is its index in the input, a passage a small whole number.

import type { ContextOrder } from '../domain/context-order.ts';

export interface PlanInput {
  readonly contextOrder: ContextOrder;
  /** One more than lines: the passages of line i stand at [offsets[i], offsets[i + 1]). */
  readonly offsets: Uint32Array;
  /** Passage ids of all lines in ranking order; below the length of `passageCosts`. */
  readonly passages: Uint32Array;
  /** By passage id: what it costs to read it where no prefix cache holds it. Same unit as `ownCosts`, not negative. */
  readonly passageCosts: Float64Array;
  /** By line: what it costs whatever was cached, that is to read its question and to write its answer. */
  readonly ownCosts: Float64Array;
  /** By line. Among lines that are otherwise equal, long answers go first. */
  readonly answerTokens: Float64Array;
}

export interface Plan {
  /** Each line of the input once, in the order in which they are to be served. */
  readonly sequence: Uint32Array;
  /** Laid out as `PlanInput.passages`: for each place in a line's prompt, the 0-based rank of the passage there. */
  readonly ranks: Uint32Array;
  /** By place in the sequence: what the line costs after its predecessor. */
  readonly costs: Float64Array;
  /** By place in the sequence: what it costs on an endpoint that has served nothing like it. */
  readonly coldCosts: Float64Array;
  /** Passages with which the prompts of all lines begin: cached everywhere, and no reason to be together. */
  readonly sharedByAll: number;
  /** Places at which a group begins: lines whose prompts share the passage after those that all share. */
  readonly groupStarts: Uint32Array;
}
