// The order of lines whose passages may be moved: greedy group recursion (GGR, arXiv 2403.05821). The passage whose
// sharing saves most comes first in the prompts of all lines that have it; they are a group, ordered by what else they
// share; the other lines are ordered among themselves in the same way.

import type { Holdings } from './holdings.ts';
import type { PlanInput } from './plan.ts';
import { ShareTable } from './share-table.ts';

/** See `Plan`. */
export function sharingOrder(input: PlanInput): { sequence: Uint32Array; ranks: Uint32Array } {
  const order = new SharingOrder(input);
  order.arrange(new ShareTable(holdingsOf(input)), 0);
  order.finishPrompts();
  return order;
}

class SharingOrder {
  readonly sequence: Uint32Array;
  readonly ranks: Uint32Array;
  readonly #input: PlanInput;
  /** By line: passages that have their place in the prompt. */
  readonly #placed: Uint32Array;
  /** Laid out as the passages: 1 where it has its place. */
  readonly #isPlaced: Uint8Array;

  constructor(input: PlanInput) {
    this.#input = input;
    this.sequence = new Uint32Array(input.offsets.length - 1);
    this.ranks = new Uint32Array(input.passages.length);
    this.#placed = new Uint32Array(this.sequence.length);
    this.#isPlaced = new Uint8Array(input.passages.length);
  }

  /** Puts the lines of the table at `from` and the places after it. */
  arrange(table: ShareTable, from: number): void {
    let begin = from;
    let end = from + table.size;
    for (let passage = table.takeBest(); passage !== null; passage = table.takeBest()) {
      const holders = table.holdersOf(passage);
      table.forEachHolder(passage, this.#placeNext);
      if (holders === table.size) continue;
      if (2 * holders <= table.size) {
        this.#arrangeApart(table.release(passage, 'holders'), begin);
        begin += holders;
      } else {
        const others = table.release(passage, 'others');
        end -= others.lines.length;
        this.#arrangeApart(others, end);
      }
    }
    this.sequence.set(table.lines().sort(this.#compare), begin);
  }

  /** Puts what is not shared behind what is, in ranking order, and the pinned passage last. */
  finishPrompts(): void {
    const { offsets, contextOrder } = this.#input;
    for (let line = 0; line < this.sequence.length; line++) {
      const begin = offsets[line] ?? 0;
      const length = (offsets[line + 1] ?? 0) - begin;
      const pinned = contextOrder === 'pin_top' ? 1 : 0;
      for (let rank = pinned; rank < length; rank++) {
        if (this.#isPlaced[begin + rank] === 0) this.#placeNext(line, rank);
      }
      if (pinned === 1 && length > 0) this.#placeNext(line, 0);
    }
  }

  #arrangeApart(holdings: Holdings, from: number): void {
    if (holdings.lines.length === 1) this.sequence.set(holdings.lines, from);
    else this.arrange(new ShareTable(holdings), from);
  }

  readonly #placeNext = (line: number, rank: number): void => {
    const begin = this.#input.offsets[line] ?? 0;
    const place = this.#placed[line] ?? 0;
    this.ranks[begin + place] = rank;
    this.#isPlaced[begin + rank] = 1;
    this.#placed[line] = place + 1;
  };

  /** Lines that share no more than what is placed: where only the pinned passage is left, those with the same one meet. */
  readonly #compare = (one: number, other: number): number => {
    const { answerTokens } = this.#input;
    return (
      this.#pinnedNext(one) - this.#pinnedNext(other) ||
      (answerTokens[other] ?? 0) - (answerTokens[one] ?? 0) ||
      one - other
    );
  };

  /** The pinned passage of a line with nothing before it but what is placed; others come last. */
  #pinnedNext(line: number): number {
    const { offsets, passages, contextOrder } = this.#input;
    const begin = offsets[line] ?? 0;
    const left = (offsets[line + 1] ?? 0) - begin - (this.#placed[line] ?? 0);
    return contextOrder === 'pin_top' && left === 1 ? (passages[begin] ?? 0) : Number.MAX_SAFE_INTEGER;
  }
}

/** What may be moved. A passage that a line has twice counts once; the second stays among what is not shared. */
function holdingsOf({ contextOrder, offsets, passages, passageCosts }: PlanInput): Holdings {
  const counts = new Int32Array(passageCosts.length);
  const lines = Uint32Array.from({ length: offsets.length - 1 }, (_, line) => line);
  const held = {
    offsets: new Uint32Array(offsets.length),
    passages: passages.slice(),
    ranks: passages.slice(),
  };
  const pinned = contextOrder === 'pin_top' ? 1 : 0;
  let end = 0;
  for (const line of lines) {
    const begin = offsets[line] ?? 0;
    for (let at = begin + pinned; at < (offsets[line + 1] ?? 0); at++) {
      const passage = passages[at] ?? 0;
      // 1 more than the line that had it last.
      if (counts[passage] === line + 1) continue;
      counts[passage] = line + 1;
      held.passages[end] = passage;
      held.ranks[end] = at - begin;
      end += 1;
    }
    held.offsets[line + 1] = end;
  }
  return { lines, ...held, space: { costs: passageCosts, counts: counts.fill(0) } };
}
