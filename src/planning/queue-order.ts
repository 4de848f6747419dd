// The order of lines whose prompts may not change: the depth-first walk of the tree of their prompts, which is the best
// that any order can give a prefix cache that holds one prompt (RadixAttention, arXiv 2312.07104).

import type { PlanInput } from './plan.ts';

/** The line order, and the unchanged passage order: see `Plan`. */
export function queueOrder(input: PlanInput): { sequence: Uint32Array; ranks: Uint32Array } {
  const { offsets, passages, answerTokens } = input;
  const lines = offsets.length - 1;
  const ranks = new Uint32Array(passages.length);
  for (let line = 0; line < lines; line++) {
    const begin = offsets[line] ?? 0;
    for (let at = begin; at < (offsets[line + 1] ?? 0); at++) ranks[at] = at - begin;
  }
  const sequence = Uint32Array.from({ length: lines }, (_, line) => line).sort(
    (one, other) =>
      compareFrom(one, other) || (answerTokens[other] ?? 0) - (answerTokens[one] ?? 0) || one - other,
  );
  return { sequence, ranks };

  function compareFrom(one: number, other: number): number {
    const oneEnd = offsets[one + 1] ?? 0;
    const otherEnd = offsets[other + 1] ?? 0;
    let oneAt = offsets[one] ?? 0;
    let otherAt = offsets[other] ?? 0;
    while (oneAt < oneEnd && otherAt < otherEnd) {
      const difference = (passages[oneAt] ?? 0) - (passages[otherAt] ?? 0);
      if (difference !== 0) return difference;
      oneAt += 1;
      otherAt += 1;
    }
    return oneEnd - oneAt - (otherEnd - otherAt);
  }
}
