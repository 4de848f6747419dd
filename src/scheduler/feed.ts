// Lines that are ready for a model server, waiting for one that has room. Batches share the servers by their weights, so
// that a small one is not stuck behind a huge one.
//
// (F1) Of one batch, what is to be answered goes before what is to be digested. Digests get what is left: as long as
//      lines to be answered wait, nobody needs more of them.

import { CALL_STAGES, type CallStage } from '../domain/call-stage.ts';
import { PRIORITY_WEIGHTS } from '../domain/priority.ts';
import { FairTurns } from './fair-turns.ts';
import { type Place, type Room, StageLines, type StageLinesOptions } from './stage-lines.ts';
import type { Work } from './work.ts';

/** In the order in which they are served. */
const ORDER: readonly CallStage[] = ['generation', 'rag'];

export class Feed {
  readonly #options: StageLinesOptions;
  readonly #turns = new FairTurns();
  readonly #batches = new Map<string, Readonly<Record<CallStage, StageLines>>>();
  readonly #lines: Record<CallStage, number> = { generation: 0, rag: 0 };

  /** `modelOf`: the model that a line wants now. */
  constructor(options: StageLinesOptions) {
    this.#options = options;
  }

  get lines(): number {
    return this.#lines.generation + this.#lines.rag;
  }

  linesOf(stage: CallStage): number {
    return this.#lines[stage];
  }

  push(work: Work): void {
    this.#enter(work).push(work);
  }

  /** A line that comes back from a failed try goes first. */
  pushFront(work: Work): void {
    this.#enter(work).pushFront(work);
  }

  /** The next line that there is room for, and the place. `roomOf` a stage: null where there is none. */
  take(roomOf: (stage: CallStage) => Room | null): { work: Work; place: Place } | null {
    for (const batchId of this.#turns.inTurn()) {
      for (const stage of ORDER) {
        const room = roomOf(stage);
        const taken = room && this.#batches.get(batchId)?.[stage].take(room);
        if (!taken) continue;
        this.#lines[stage] -= 1;
        if (taken.place !== 'nowhere') this.#turns.charge(batchId, Math.max(1, taken.work.state.tokens));
        this.#leaveIfEmpty(batchId);
        return taken;
      }
    }
    return null;
  }

  /** The models that lines of this stage wait for. */
  modelsOf(stage: CallStage): Set<string | null> {
    const models = new Set<string | null>();
    // Asked often, and mostly of a stage for which nothing waits.
    if (this.#lines[stage] === 0) return models;
    for (const byStage of this.#batches.values()) {
      if (byStage[stage].isEmpty) continue;
      for (const model of byStage[stage].models()) models.add(model);
    }
    return models;
  }

  /** Takes out all lines that match, of these stages. */
  remove(matches: (work: Work) => boolean, stages: readonly CallStage[] = CALL_STAGES): Work[] {
    const removed: Work[] = [];
    for (const [batchId, byStage] of this.#batches) {
      const before = removed.length;
      for (const stage of stages) {
        if (byStage[stage].isEmpty) continue;
        const of = byStage[stage].remove(matches);
        this.#lines[stage] -= of.length;
        removed.push(...of);
      }
      if (removed.length > before) this.#leaveIfEmpty(batchId);
    }
    return removed;
  }

  /** No line of the batch comes any more. */
  forget(batchId: string): void {
    const byStage = this.#batches.get(batchId);
    if (byStage && ORDER.every((stage) => byStage[stage].isEmpty)) this.#batches.delete(batchId);
  }

  #enter(work: Work): StageLines {
    const { lease, priority } = work.chunk;
    let byStage = this.#batches.get(lease.batchId);
    if (!byStage) {
      const newLines = () => new StageLines(this.#options);
      byStage = { generation: newLines(), rag: newLines() };
      this.#batches.set(lease.batchId, byStage);
    }
    this.#turns.join(lease.batchId, PRIORITY_WEIGHTS[priority]);
    this.#lines[work.stage] += 1;
    return byStage[work.stage];
  }

  #leaveIfEmpty(batchId: string): void {
    const byStage = this.#batches.get(batchId);
    if (byStage && CALL_STAGES.every((stage) => byStage[stage].isEmpty)) this.#turns.leave(batchId);
  }
}
