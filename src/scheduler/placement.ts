// Which line goes to which endpoint next: turns and order are the feed's, room is the pool's.
//
// (D6) Lines that cannot be placed in one stage keep none in the other from being placed.

import { CALL_STAGES, type CallStage } from '../domain/call-stage.ts';
import type { Endpoint } from '../gpu-pool/endpoint.ts';
import type { GpuPool } from '../gpu-pool/gpu-pool.ts';
import { Feed } from './feed.ts';
import { HeldLines } from './held-lines.ts';
import type { Place, Room, StageLinesOptions } from './stage-lines.ts';
import type { Work } from './work.ts';

export interface PlacementOptions extends StageLinesOptions {
  readonly pool: GpuPool;
  /** Suspects run one at a time. */
  readonly maySuspectRun: () => boolean;
}

export class Placement {
  readonly #options: PlacementOptions;
  readonly #feed: Feed;
  readonly #held = new HeldLines();
  readonly #rooms: Readonly<Record<CallStage, Room>>;

  constructor(options: PlacementOptions) {
    this.#options = options;
    this.#feed = new Feed(options);
    this.#rooms = { generation: this.#roomFor('generation'), rag: this.#roomFor('rag') };
  }

  /** Lines that wait. */
  get lines(): number {
    return this.#feed.lines + this.#held.lines;
  }

  linesOf(stage: CallStage): number {
    return this.#feed.linesOf(stage) + this.#held.linesOf(stage);
  }

  /** Whether nothing waits but what nobody is there for. */
  get isAllPlaced(): boolean {
    const { pool } = this.#options;
    return (
      this.#held.lines === 0 &&
      CALL_STAGES.every((stage) => this.#feed.linesOf(stage) === 0 || !pool.isServing(stage))
    );
  }

  modelsOf(stage: CallStage): Set<string | null> {
    return this.#feed.modelsOf(stage);
  }

  add(work: Work): void {
    this.#feed.push(work);
  }

  /** A line that comes back from a failed try goes first. */
  comeBack(work: Work): void {
    this.#feed.pushFront(work);
  }

  /** The next line that can start, and where; null: none can. */
  next(): { work: Work; place: Place } | null {
    const held = this.#nextHeld();
    if (held) return held;
    for (;;) {
      const next = this.#nextFed();
      if (next === null || next.place === 'nowhere') return next;
      const { work, place } = next;
      if (place.hasRoom({ tokens: work.state.tokens, stage: work.stage })) return next;
      this.#held.hold(place, work);
    }
  }

  /** Takes out all lines that match. */
  remove(matches: (work: Work) => boolean): Work[] {
    return [...this.#held.remove(matches), ...this.#feed.remove(matches)];
  }

  /** Takes out all lines of this stage and model. */
  removeOf(stage: CallStage, model: string | null): Work[] {
    const matches = (work: Work) => work.stage === stage && this.#options.modelOf(work) === model;
    // Lines of the other stage may be many, and need not be looked at.
    return [...this.#held.remove(matches), ...this.#feed.remove(matches, [stage])];
  }

  /** No line of the batch comes any more. */
  forget(batchId: string): void {
    this.#feed.forget(batchId);
  }

  /** What was held goes elsewhere where its endpoint does not take it any more. */
  #nextHeld(): { work: Work; place: Endpoint } | null {
    const { modelOf } = this.#options;
    for (const work of this.#held.takeHomeless(modelOf)) this.#feed.pushFront(work);
    return this.#held.takeFitting();
  }

  #nextFed(): { work: Work; place: Place } | null {
    const { pool } = this.#options;
    // Whoever waits, nobody can be placed: this is asked often, and must cost nothing then.
    const open = CALL_STAGES.filter((stage) => this.#feed.linesOf(stage) > 0 && pool.hasRoom(stage));
    if (open.length === 0) return null;
    return this.#feed.take((stage) => (open.includes(stage) ? this.#rooms[stage] : null));
  }

  /** An endpoint that keeps its room for a held line has none for others. */
  #roomFor(stage: CallStage): Room {
    const { pool, modelOf, maySuspectRun } = this.#options;
    const free = (model: string | null, avoid?: ReadonlySet<string>) =>
      pool.withRoom(stage, model, avoid).filter((endpoint) => !this.#held.has(endpoint));
    const mayStart = () => !this.#held.hasSuspect && maySuspectRun();
    const isNowhere = (model: string | null) => model !== null && pool.servesNowhere(stage, model);
    return {
      place(work) {
        if (work.isSuspect && !mayStart()) return null;
        const { avoid, tokens } = work.state;
        const model = modelOf(work);
        const found = free(model, avoid);
        // Where nobody has room for its tokens, the least loaded keeps what gets free for it.
        const endpoint = found.find((one) => one.hasRoom({ tokens, stage })) ?? found[0];
        return endpoint ?? (isNowhere(model) ? 'nowhere' : null);
      },
      endpointsFor(model) {
        const found = free(model);
        return found.length === 0 && isNowhere(model) ? 'nowhere' : found;
      },
      serving: (model) => pool.serving(stage, model),
    };
  }
}
