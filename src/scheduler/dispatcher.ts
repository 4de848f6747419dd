// Takes lines from the feed to the endpoints, and decides what follows from how each call ends: whether it is made again,
// or the stage of the line has succeeded or failed.
//
// (D1) A stage of a line ends exactly once, or the lease is gone.
// (D4) Suspects run one at a time, each in a process of its own, and are never hedged.
// (D5) While two calls of a line are in flight, the first answer counts; a failure counts only if it is the last.

import type { CallStage } from '../domain/call-stage.ts';
import type { ModelFailure } from '../domain/failure.ts';
import type { GenerationSuccess } from '../domain/generation.ts';
import type { Ended } from '../gpu-pool/ended.ts';
import type { Endpoint } from '../gpu-pool/endpoint.ts';
import type { GpuPool } from '../gpu-pool/gpu-pool.ts';
import type { Metrics } from '../metrics.ts';
import { modelFailure } from '../model-server/failures.ts';
import { fullJitterMs } from '../time.ts';
import { aftermathOf } from './aftermath.ts';
import { CallBudget } from './call-budget.ts';
import { Caller, type CallerOptions } from './caller.ts';
import { type Call, Calls } from './calls.ts';
import { Placement } from './placement.ts';
import { RagOutage } from './rag-outage.ts';
import { RunningCount } from './running-count.ts';
import type { MakePlan } from './stage-lines.ts';
import { rememberTry } from './stage-state.ts';
import { Tail } from './tail.ts';
import type { Work } from './work.ts';

export interface DispatcherOptions extends Omit<CallerOptions, 'calls'> {
  readonly pool: GpuPool;
  readonly metrics: Metrics;
  /** Finds the order in which lines go to the endpoints. */
  readonly plan: MakePlan;
  /** Lines in hand that have no record yet, here or on their way here. */
  readonly openLines: () => number;
  /** How long lines wait when no endpoint of the RAG model is up. */
  readonly ragOutageMs: number;
  readonly onSurprise: (work: Work, error: unknown) => void;
}

/** A sick pool must not be asked more than a healthy one; time earns some, lest a line wait for ever. */
const RETRY_BUDGET = { share: 0.1, perSecond: 1, savedAtStart: 20, savedMax: 100 };
/** Backoff between attempts of a line, in milliseconds. */
const RETRY_BASE_MS = 100;
const RETRY_CAP_MS = 10_000;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  /** Lines for which there is no room yet. */
  readonly #waiting: Placement;
  readonly #calls = new Calls();
  readonly #caller: Caller;
  readonly #tail: Tail;
  readonly #outage: RagOutage;
  readonly #budget: CallBudget;
  /** The suspect in flight; the others wait in the feed. */
  #suspect: Work | null = null;
  /** Lines that wait for their next try. */
  #backingOff = 0;
  /** Calls, and what follows from them at once. */
  readonly #running = new RunningCount();
  #isStopped = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    const { pool, clock, metrics, plan } = options;
    this.#waiting = new Placement({
      pool,
      plan,
      modelOf: (work) => this.#modelOf(work),
      maySuspectRun: () => this.#suspect === null,
    });
    this.#caller = new Caller({ ...options, calls: this.#calls });
    this.#budget = new CallBudget(RETRY_BUDGET, clock);
    this.#tail = new Tail({
      pool,
      clock,
      metrics,
      calls: this.#calls,
      isTail: () => !this.#isStopped && this.#waiting.isAllPlaced && options.openLines() <= this.#linesHere,
      hedge: (work, endpoint) => this.#start(work, endpoint, true),
    });
    this.#outage = new RagOutage({
      limitMs: options.ragOutageMs,
      clock,
      wanted: () => this.#waiting.modelsOf('rag'),
      isDown: (model) => pool.isDown('rag', model),
      onOver: (model) => this.#giveUpDigests(model),
    });
    pool.whenRoom(() => this.#pump());
  }

  /** A line that is ready for a model server. */
  add(work: Work): void {
    work.readyAtMs = this.#options.clock.monotonicMs();
    work.state.tokens = this.#caller.tokensOf(work);
    this.#waiting.add(work);
    this.#pump();
  }

  /** Takes out what matches and is not in flight; what is in flight ends by its chunk's signal, or finishes. */
  takeBack(matches: (work: Work) => boolean): Work[] {
    return this.#waiting.remove(matches);
  }

  /** No line of the batch comes any more. */
  forget(batchId: string): void {
    this.#waiting.forget(batchId);
  }

  /** How many lines wait here: for a place, by stage, and for their next try. */
  get waiting(): WaitingLines {
    return {
      rag: this.#waiting.linesOf('rag'),
      generation: this.#waiting.linesOf('generation'),
      retry: this.#backingOff,
    };
  }

  /** No call starts afterwards; those in flight have `graceMs` to end. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopped = true;
    this.#tail.stop();
    this.#outage.stop();
    for (const endpoint of this.#options.pool.endpoints) endpoint.handBack();
    const grace = new AbortController();
    const timeUp = this.#options.clock.sleep(graceMs, grace.signal).catch(() => {});
    await Promise.race([this.#running.idle(), timeUp]);
    grace.abort();
  }

  #pump(): void {
    if (this.#isStopped) return;
    for (let next = this.#waiting.next(); next !== null; next = this.#waiting.next()) {
      if (next.place === 'nowhere') this.#failForModel(next.work);
      else this.#start(next.work, next.place, false);
    }
    this.#outage.check();
    if (this.#waiting.isAllPlaced && this.#calls.lines > 0) this.#tail.watch();
  }

  #modelOf(work: Work): string | null {
    return this.#options.stages[work.stage].modelOf(work);
  }

  /** Lines that are neither on their way here nor done. */
  get #linesHere(): number {
    return this.#calls.lines + this.#backingOff + this.#waiting.lines;
  }

  #start(work: Work, endpoint: Endpoint, isHedge: boolean): void {
    if (work.isSuspect) this.#suspect = work;
    this.#options.pool.picked(endpoint);
    const call = this.#caller.prepare(work, endpoint, isHedge);
    this.#calls.add(call);
    this.#running.begin();
    this.#run(call).then(
      () => this.#ran(work),
      (error) => {
        this.#surprise(call, error);
        this.#ran(work);
      },
    );
  }

  #ran(work: Work): void {
    this.#running.end();
    if (this.#suspect !== work) return;
    this.#suspect = null;
    this.#pump();
  }

  async #run(call: Call): Promise<void> {
    const { work, state, endpoint } = call;
    let ended: Awaited<ReturnType<Caller['make']>>;
    let isLast = true;
    try {
      ended = await this.#caller.make(call);
    } finally {
      isLast = this.#calls.remove(call);
    }
    if (ended.kind === 'not_sent') {
      if (isLast && !state.isAnswered) this.#unsent(work);
      return;
    }
    const { outcome } = ended;
    this.#count(call, ended);
    rememberTry(state, outcome, call.trace);
    if (work.chunk.controller.signal.aborted || state.isAnswered || work.isEnded) return;
    if (outcome.kind === 'success') this.#answered(call, outcome);
    else if (isLast) await this.#failed(call, ended, outcome);
    else if (outcome.class !== 'cancelled') state.avoid.add(endpoint.name);
  }

  #count({ state, endpoint, isHedge }: Call, { outcome }: Ended): void {
    const { metrics } = this.#options;
    const requestClass = outcome.kind === 'success' ? 'success' : outcome.class;
    metrics.endpointRequests.inc({ endpoint: endpoint.name, class: requestClass });
    if (isHedge) metrics.hedges.inc({ outcome: outcome.kind === 'success' ? 'won' : 'lost' });
    else if (state.tries.length === 0) {
      this.#budget.earn();
      this.#tail.earn();
    }
  }

  #answered(call: Call, success: GenerationSuccess): void {
    const { pool, stages } = this.#options;
    const { work, stage, state, trace } = call;
    for (const other of this.#calls.othersOf(call)) other.cancel.abort();
    for (const name of state.refusedBy) pool.find(name)?.contradicted();
    state.attempts += 1;
    state.isAnswered = true;
    this.#conclude(work, () => stages[stage].succeeded(work, success, trace));
  }

  async #failed(call: Call, ended: Ended, failure: ModelFailure): Promise<void> {
    const { pool, stages } = this.#options;
    const { work, state, trace } = call;
    const stage = stages[call.stage];
    if (stage.isFinal(failure)) {
      state.attempts += 1;
      return stage.failed(work, failure, trace);
    }
    const { maxAttempts } = stage.limits;
    const aftermath = await aftermathOf(call, ended, { pool, maxAttempts });
    if (work.chunk.controller.signal.aborted || aftermath === 'nothing') return;
    const isOver = aftermath === 'fail' || (aftermath === 'spare' && !this.#budget.spend());
    if (isOver) stage.failed(work, failure, trace);
    else if (aftermath === 'again') this.#again(work, failure);
    // While it waits it is not running: a stop need not wait for it.
    else this.#againLater(work, failure, aftermath === 'paid').catch((error) => this.#surprise(call, error));
  }

  async #againLater(work: Work, failure: ModelFailure, isPaid: boolean): Promise<void> {
    const { clock } = this.#options;
    const { signal } = work.chunk.controller;
    const { attempts, innocentFailures } = work.state;
    const { overload, misconfigured } = innocentFailures;
    const tries = attempts + (failure.class === 'overload' ? overload : misconfigured);
    this.#backingOff += 1;
    try {
      do await clock.sleep(fullJitterMs(tries, RETRY_BASE_MS, RETRY_CAP_MS), signal);
      while (isPaid && !this.#budget.spend());
    } catch {
      return; // The lease is gone, and the line with it.
    } finally {
      this.#backingOff -= 1;
    }
    this.#again(work, failure);
  }

  #again(work: Work, failure: ModelFailure): void {
    if (work.chunk.controller.signal.aborted) return;
    this.#options.metrics.retries.inc({ reason: failure.class });
    this.#unsent(work);
  }

  /** Back to the head of its queue. */
  #unsent(work: Work): void {
    if (work.chunk.controller.signal.aborted) return;
    work.readyAtMs = this.#options.clock.monotonicMs();
    this.#waiting.comeBack(work);
    this.#pump();
  }

  /** A line that has another call, or was answered by it, needs nobody to mind it. */
  #surprise({ work, state }: Call, error: unknown): void {
    if (!state.isAnswered && state.callsInFlight === 0) this.#options.onSurprise(work, error);
  }

  /** What a stage throws where it ends is a surprise for its own line, whoever had the turn. */
  #conclude(work: Work, end: () => void): void {
    try {
      end();
    } catch (error) {
      this.#options.onSurprise(work, error);
    }
  }

  #failForModel(work: Work): void {
    const { pool, stages } = this.#options;
    const endpoints = pool.endpoints.filter(({ roles }) => roles.has(work.stage));
    const served = new Set(endpoints.flatMap(({ models }) => models.ids));
    const message = `No endpoint serves the model "${this.#modelOf(work)}". Served: ${[...served].join(', ')}.`;
    const failure = modelFailure('misconfigured', message);
    this.#conclude(work, () => stages[work.stage].failed(work, failure, null));
  }

  #giveUpDigests(model: string | null): void {
    const { pool, stages, ragOutageMs } = this.#options;
    const reason = pool.waitingFor('rag', model) ?? 'the RAG model';
    const message = `After ${ragOutageMs / 1000} s (RAG_OUTAGE_MS) the line still waited for ${reason}.`;
    const failure = modelFailure('hard', message);
    for (const work of this.#waiting.removeOf('rag', model))
      this.#conclude(work, () => stages.rag.failed(work, failure, null));
  }
}

/** Lines that wait for a place at an endpoint, by stage, and for their next try. */
export type WaitingLines = Readonly<Record<CallStage | 'retry', number>>;
