// Lines whose turn it was and whose tokens did not fit yet: each waits at one endpoint, which takes nothing else meanwhile.
// Else small lines would take what gets free, one after the other, and a large one would wait for as long as any come.

import type { CallStage } from '../domain/call-stage.ts';
import type { Endpoint } from '../gpu-pool/endpoint.ts';
import { releaseFollowers } from './stage-state.ts';
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

  /** Suspects run one at a time, and one that waits here is as good as running. */
  get hasSuspect(): boolean {
    return this.#held.values().some((work) => work.isSuspect);
  }

  /** Takes out those whose endpoint does not serve their model any more, or takes nothing now, however much is free there. */
  takeHomeless(modelOf: (work: Work) => string | null): Work[] {
    return this.#takeOut(
      (work, endpoint) =>
        endpoint.isPaused || endpoint.isDoubtful || !endpoint.serves(work.stage, modelOf(work)),
    );
  }

  /** Takes out all lines that match. */
  remove(matches: (work: Work) => boolean): Work[] {
    return this.#takeOut(matches);
  }

  #takeOut(matches: (work: Work, endpoint: Endpoint) => boolean): Work[] {
    const taken: Work[] = [];
    for (const [endpoint, work] of this.#held) {
      if (!matches(work, endpoint)) continue;
      this.#held.delete(endpoint);
      // No call of it will end here: lines that wait for it to be read would wait for ever.
      releaseFollowers(work.state, false);
      taken.push(work);
    }
    return taken;
  }
}
