// Lines that are ready for a model server, waiting for one that has room. Batches take turns, so that a small one
// is not stuck behind a huge one; within a batch, lines that want different endpoints do not block each other.
//
// (F1) Of one batch, what is to be answered goes before what is to be digested. Digests get what is left: as long as
//      lines to be answered wait, nobody needs more of them.

import type { CallStage } from '../domain/call-stage.ts';
import type { Work } from './work.ts';

/** In the order in which they are served. */
const ORDER: readonly CallStage[] = ['generation', 'rag'];

/** By model, endpoints to avoid and suspicion, in the order of their turns. */
type Queues = Map<string, Work[]>;

export class Feed {
  readonly #modelOf: (work: Work) => string | null;
  /** In the order of their turns. */
  readonly #batches = new Map<string, Readonly<Record<CallStage, Queues>>>();
  readonly #lines: Record<CallStage, number> = { generation: 0, rag: 0 };

  /** `modelOf`: the model that a line wants now. */
  constructor(modelOf: (work: Work) => string | null) {
    this.#modelOf = modelOf;
  }

  get lines(): number {
    return this.#lines.generation + this.#lines.rag;
  }

  linesOf(stage: CallStage): number {
    return this.#lines[stage];
  }

  push(work: Work): void {
    this.#queue(work).push(work);
  }

  /** A line that comes back from a failed try goes first. */
  pushFront(work: Work): void {
    this.#queue(work).unshift(work);
  }

  /**
   * The next line that `place` finds a place for, and the place. Asks once per queue, in the order of turns; the
   * batch that was served goes to the end, and so does its queue among those of its batch.
   */
  take<Place>(place: (work: Work) => Place | null): { work: Work; place: Place } | null {
    for (const [batchId, byStage] of this.#batches) {
      for (const stage of ORDER) {
        const taken = takeFrom(byStage[stage], place);
        if (taken === null) continue;
        this.#lines[stage] -= 1;
        this.#batches.delete(batchId);
        if (ORDER.some((other) => byStage[other].size > 0)) this.#batches.set(batchId, byStage);
        return taken;
      }
    }
    return null;
  }

  /** The models that lines of this stage wait for. */
  modelsOf(stage: CallStage): Set<string | null> {
    const models = new Set<string | null>();
    for (const byStage of this.#batches.values()) {
      for (const [work] of byStage[stage].values()) if (work) models.add(this.#modelOf(work));
    }
    return models;
  }

  /** Takes out all lines that match. */
  remove(matches: (work: Work) => boolean): Work[] {
    const removed: Work[] = [];
    for (const [batchId, byStage] of this.#batches) {
      for (const stage of ORDER) {
        for (const [key, lines] of byStage[stage]) {
          const kept = lines.filter((work) => !matches(work));
          if (kept.length < lines.length) removed.push(...lines.filter(matches));
          this.#lines[stage] -= lines.length - kept.length;
          if (kept.length === 0) byStage[stage].delete(key);
          // Set in place, not deleted and set again: the queue keeps its turn, and this loop comes to an end.
          else byStage[stage].set(key, kept);
        }
      }
      if (ORDER.every((stage) => byStage[stage].size === 0)) this.#batches.delete(batchId);
    }
    return removed;
  }

  #queue(work: Work): Work[] {
    const { batchId } = work.chunk.lease;
    const byStage = this.#batches.get(batchId) ?? { generation: new Map(), rag: new Map() };
    this.#batches.set(batchId, byStage);
    const avoided = [...work.state.avoid].sort().join();
    const key = [this.#modelOf(work) ?? '', avoided, work.isSuspect].join('\n');
    const queue = byStage[work.stage].get(key) ?? [];
    byStage[work.stage].set(key, queue);
    this.#lines[work.stage] += 1;
    return queue;
  }
}

function takeFrom<Place>(
  queues: Queues,
  place: (work: Work) => Place | null,
): { work: Work; place: Place } | null {
  for (const [key, lines] of queues) {
    const [work] = lines;
    const found = work ? place(work) : null;
    if (!work || found === null) continue;
    lines.shift();
    queues.delete(key);
    if (lines.length > 0) queues.set(key, lines);
    return { work, place: found };
  }
  return null;
}
