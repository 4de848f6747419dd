// What of one batch waits for one stage. Lines with passages are kept in a book of runs, one for each model, so that those
// which share passages go to one endpoint one after the other; all others wait in queues.

import type { ServerKind } from '../domain/server-kind.ts';
import type { Endpoint } from '../gpu-pool/endpoint.ts';
import { RunBook, type RunBookOptions } from '../planning/run-book.ts';
import { LineQueues } from './line-queues.ts';
import { hasSharedBeginning, planLineOf, TOKEN_COSTS } from './planned-lines.ts';
import type { Work } from './work.ts';

export type MakePlan = RunBookOptions<Work>['plan'];

/** `nowhere`: nobody serves its model, and nobody will. */
export type Place = Endpoint | 'nowhere';

/** Who serves one stage, and has room now. */
export interface Room {
  /** For this line. */
  place(work: Work): Place | null;
  /** For lines of a model (null: any), the least loaded first. */
  endpointsFor(model: string | null): readonly Endpoint[] | 'nowhere';
  /** All that serve the model, be they busy or not. */
  serving(model: string | null): readonly Endpoint[];
}

export interface StageLinesOptions {
  readonly modelOf: (work: Work) => string | null;
  readonly plan: MakePlan;
}

/** They share a prompt with others when they have read it, and not while they do. */
const LEADER_FIRST: ReadonlySet<ServerKind> = new Set(['sglang', 'ollama', 'llamacpp']);

interface Book {
  readonly runs: RunBook<Work>;
  /** Endpoints that have joined it, and their windows. */
  readonly windows: Map<string, number>;
}

export class StageLines {
  readonly #options: StageLinesOptions;
  readonly #queues: LineQueues;
  /** By model. They stay when they are empty: a book remembers what was where. */
  readonly #books = new Map<string | null, Book>();

  constructor(options: StageLinesOptions) {
    this.#options = options;
    this.#queues = new LineQueues(options.modelOf);
  }

  get isEmpty(): boolean {
    return this.#queues.isEmpty && this.#books.values().every(({ runs }) => runs.size === 0);
  }

  push(work: Work): void {
    const isPlanned = hasSharedBeginning(work) && !work.isSuspect && work.state.avoid.size === 0;
    if (isPlanned) this.#bookOf(work).runs.add(work);
    else this.#queues.push(work);
  }

  /** A line that comes back goes first, with the order of its passages. */
  pushFront(work: Work): void {
    this.#queues.pushFront(work);
  }

  take(room: Room): { work: Work; place: Place } | null {
    const queued = this.#queues.take((work) => room.place(work));
    if (queued) return queued;
    for (const [model, book] of this.#books) {
      if (book.runs.size === 0) continue;
      const endpoints = room.endpointsFor(model);
      const place = endpoints === 'nowhere' ? endpoints : endpoints[0];
      if (place === undefined) continue;
      seat(book, room.serving(model));
      const [name, isLeaderFirst] =
        place === 'nowhere' ? [place, false] : [place.name, LEADER_FIRST.has(place.kind ?? 'generic')];
      const taken = book.runs.takeFor(name, isLeaderFirst);
      if (!taken) continue;
      // Names of models that nobody has are as many as a user likes to write.
      if (place === 'nowhere' && book.runs.size === 0) this.#books.delete(model);
      const { line: work, ranks, leads } = taken;
      if (leads !== null) work.state.release = (isRead) => book.runs.release(name, leads, isRead);
      work.state.passageOrder = ranks.every((rank, at) => rank === at) ? null : [...ranks];
      return { work, place };
    }
    return null;
  }

  remove(matches: (work: Work) => boolean): Work[] {
    const removed = this.#queues.remove(matches);
    for (const { runs } of this.#books.values()) removed.push(...runs.remove(matches));
    return removed;
  }

  /** The models that lines wait for. */
  models(): Set<string | null> {
    const models = this.#queues.models();
    for (const [model, { runs }] of this.#books) if (runs.size > 0) models.add(model);
    return models;
  }

  #bookOf(work: Work): Book {
    const model = this.#options.modelOf(work);
    let book = this.#books.get(model);
    if (!book) {
      const { plan } = this.#options;
      const { contextOrder } = work.chunk;
      const runs = new RunBook<Work>({ contextOrder, tokenCosts: TOKEN_COSTS, planLineOf, plan });
      book = { runs, windows: new Map() };
      this.#books.set(model, book);
    }
    return book;
  }
}

/** Tells the book who is there; what an endpoint runs at once stands for its speed. */
function seat({ runs, windows }: Book, endpoints: readonly Endpoint[]): void {
  for (const { name, window } of endpoints) {
    if (windows.get(name) !== window) runs.join(name, window);
    windows.set(name, window);
  }
  if (windows.size === endpoints.length) return;
  const names = new Set(endpoints.map(({ name }) => name));
  for (const name of windows.keys()) {
    if (names.has(name)) continue;
    runs.leave(name);
    windows.delete(name);
  }
}
