// Lines whose turn it was and whose tokens did not fit yet: each waits at one endpoint, which takes nothing else meanwhile.
// Else small lines would take what gets free, one after the other, and a large one would wait for as long as any come.

import type { CallStage } from '../domain/call-stage.ts';
import type { Endpoint } from '../gpu-pool/endpoint.ts';
import type { Work } from './work.ts';

export class HeldLines {
  readonly #held = new Map<Endpoint, Work>();

  get lines(): number {
    return this.#held.size;
  }

  linesOf(stage: CallStage): number {
    return [...this.#held.values()].filter((work) => work.stage === stage).length;
  }

  has(endpoint: Endpoint): boolean {
    return this.#held.has(endpoint);
  }

  hold(endpoint: Endpoint, work: Work): void {
    this.#held.set(endpoint, work);
  }

  /** Takes out one that fits by now; null: none does. */
  takeFitting(): { work: Work; place: Endpoint } | null {
    for (const [place, work] of this.#held) {
      if (!place.hasRoom({ tokens: work.state.tokens, stage: work.stage })) continue;
      this.#held.delete(place);
      return { work, place };
    }
    return null;
  }

  /** Takes out those whose endpoint does not serve their model any more. */
  takeHomeless(modelOf: (work: Work) => string | null): Work[] {
    const homeless: Work[] = [];
    for (const [endpoint, work] of this.#held) {
      if (endpoint.serves(work.stage, modelOf(work))) continue;
      this.#held.delete(endpoint);
      homeless.push(work);
    }
    return homeless;
  }

  /** Takes out all lines that match. */
  remove(matches: (work: Work) => boolean): Work[] {
    const removed: Work[] = [];
    for (const [endpoint, work] of this.#held) {
      if (!matches(work)) continue;
      this.#held.delete(endpoint);
      removed.push(work);
    }
    return removed;
  }
}
