// Takes lines from the feed to the endpoints, and decides what follows from how each generation ends.
//
// (D1) A line ends with exactly one record, or its lease is gone.
// (D4) Suspects run one at a time, each in a process of its own, and are never hedged.
// (D5) While two calls of a line are in flight, the first answer counts; a failure counts only if it is the last.

import type { ModelFailure } from '../domain/failure.ts';
import type { GenerationSuccess } from '../domain/generation.ts';
import type { NewRecord } from '../domain/record.ts';
import type { Ended } from '../gpu-pool/ended.ts';
import type { Endpoint } from '../gpu-pool/endpoint.ts';
import type { GpuPool } from '../gpu-pool/gpu-pool.ts';
import type { Metrics } from '../metrics.ts';
import { fullJitterMs } from '../time.ts';
import { aftermathOf } from './aftermath.ts';
import { CallBudget } from './call-budget.ts';
import { Caller, type CallerOptions } from './caller.ts';
import { type Call, Calls } from './calls.ts';
import { Feed } from './feed.ts';
import { failedRecord, succeededRecord } from './result-record.ts';
import { Tail } from './tail.ts';
import { rememberTry, type Work } from './work.ts';

export interface DispatcherOptions extends CallerOptions {
  readonly pool: GpuPool;
  readonly metrics: Metrics;
  /** Lines in hand that have no record yet, here or on their way here. */
  readonly openLines: () => number;
  readonly onRecord: (work: Work, record: NewRecord) => void;
  readonly onSurprise: (work: Work, error: unknown) => void;
}

/** A sick pool must not be asked more than a healthy one; time earns some, lest a line wait for ever. */
const RETRY_BUDGET = { share: 0.1, perSecond: 1, savedAtStart: 20, savedMax: 100 };
/** Backoff between attempts of a line, in milliseconds. */
const RETRY_BASE_MS = 100;
const RETRY_CAP_MS = 10_000;

const NO_ROOM_FOR_CONTEXT = {
  code: 'no_context',
  message:
    "The model's context has no room for a passage beside the question and the answer, and the batch asks for context (on_no_context=fail). Lower max_tokens.",
  stage: 'rag',
} as const;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #feed = new Feed();
  readonly #calls = new Calls();
  readonly #caller: Caller;
  readonly #tail: Tail;
  readonly #budget: CallBudget;
  /** The suspect in flight; the others wait in the feed. */
  #suspect: Work | null = null;
  /** Lines that wait for their next try. */
  #backingOff = 0;
  readonly #running = new Set<Promise<void>>();
  #isStopped = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    const { pool, clock, metrics } = options;
    this.#caller = new Caller(options);
    this.#budget = new CallBudget(RETRY_BUDGET, clock);
    this.#tail = new Tail({
      pool,
      clock,
      metrics,
      calls: this.#calls,
      isTail: () =>
        this.#feed.isEmpty && options.openLines() <= this.#calls.lines + this.#backingOff && !this.#isStopped,
      hedge: (work, endpoint) => this.#start(work, endpoint, true),
    });
    pool.whenRoom(() => this.#pump());
  }

  /** A line that is ready for a model server. */
  add(work: Work): void {
    work.readyAtMs = this.#options.clock.monotonicMs();
    work.tokens = this.#caller.tokensOf(work);
    this.#feed.push(work);
    this.#pump();
  }

  /** Takes out what matches and is not in flight; what is in flight ends by its chunk's signal, or finishes. */
  takeBack(matches: (work: Work) => boolean): Work[] {
    return this.#feed.remove(matches);
  }

  /** How many lines wait here, by what for. */
  get waiting(): { readonly room: number; readonly retry: number } {
    return { room: this.#feed.lines, retry: this.#backingOff };
  }

  /** No generation starts afterwards; those in flight have `graceMs` to end. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopped = true;
    this.#tail.stop();
    for (const endpoint of this.#options.pool.endpoints) endpoint.handBack();
    const grace = new AbortController();
    const timeUp = this.#options.clock.sleep(graceMs, grace.signal).catch(() => {});
    await Promise.race([Promise.all(this.#running), timeUp]);
    grace.abort();
  }

  #pump(): void {
    if (this.#isStopped) return;
    const { pool } = this.#options;
    for (;;) {
      // Whoever waits, nobody can be placed: this is asked often, and must cost nothing then.
      if (!pool.hasRoom) return;
      const next = this.#feed.take((work) => this.#place(pool, work));
      if (!next) break;
      if (next.place === 'nowhere') this.#failForModel(next.work);
      else this.#start(next.work, next.place, false);
    }
    if (this.#feed.isEmpty && this.#calls.lines > 0) this.#tail.watch();
  }

  #place(pool: GpuPool, work: Work): Endpoint | 'nowhere' | null {
    if (work.isSuspect && this.#suspect !== null) return null;
    const { model } = work.parsed.options;
    const endpoint = pool.pick(model, work.avoid, work.tokens);
    return endpoint === null && model !== null && pool.servesNowhere(model) ? 'nowhere' : endpoint;
  }

  #start(work: Work, endpoint: Endpoint, isHedge: boolean): void {
    if (work.isSuspect) this.#suspect = work;
    const call = this.#caller.prepare(work, endpoint, isHedge);
    this.#calls.add(call);
    const running = this.#run(call)
      .catch((error) => this.#surprise(work, error))
      .finally(() => {
        this.#running.delete(running);
        if (this.#suspect !== work) return;
        this.#suspect = null;
        this.#pump();
      });
    this.#running.add(running);
  }

  async #run(call: Call): Promise<void> {
    const { work, endpoint } = call;
    let ended: Awaited<ReturnType<Caller['make']>>;
    let isLast = true;
    try {
      ended = await this.#caller.make(call);
    } finally {
      isLast = this.#calls.remove(call);
    }
    if (ended.kind === 'not_sent') {
      if (isLast) this.#unsent(work);
      return;
    }
    const { outcome } = ended;
    this.#count(call, ended);
    rememberTry(work, outcome, call.trace);
    if (work.chunk.controller.signal.aborted || work.isAnswered) return;
    if (outcome.kind === 'success') this.#answered(call, outcome);
    else if (isLast) await this.#failed(call, ended, outcome);
    else if (outcome.class !== 'cancelled') work.avoid.add(endpoint.name);
  }

  #count({ work, endpoint, isHedge }: Call, { outcome }: Ended): void {
    const { metrics } = this.#options;
    const requestClass = outcome.kind === 'success' ? 'success' : outcome.class;
    metrics.endpointRequests.inc({ endpoint: endpoint.name, class: requestClass });
    if (isHedge) metrics.hedges.inc({ outcome: outcome.kind === 'success' ? 'won' : 'lost' });
    else if (work.tries.length === 0) {
      this.#budget.earn();
      this.#tail.earn();
    }
  }

  #answered(call: Call, success: GenerationSuccess): void {
    const { metrics, pool, onRecord } = this.#options;
    const { work, trace } = call;
    for (const other of this.#calls.othersOf(call)) other.controller.abort();
    for (const name of work.refusedBy) pool.find(name)?.contradicted();
    work.attempts += 1;
    work.isAnswered = true;
    if (success.isContextTruncated) metrics.contextTruncated.inc({ endpoint: trace.endpoint });
    if (success.contextCut) metrics.contextCuts.inc({ reason: success.isShortened ? 'refused' : 'budget' });
    metrics.stageDuration.observe({ stage: 'queued' }, work.queuedMs / 1000);
    metrics.stageDuration.observe({ stage: 'generation' }, trace.durationMs / 1000);
    // What fits the model without any passage is an answer without context.
    if (success.contextCut?.passages === 0 && work.parsed.options.onNoContext === 'fail') {
      onRecord(work, failedRecord(work, NO_ROOM_FOR_CONTEXT, trace));
    } else onRecord(work, succeededRecord(work, success, trace));
  }

  async #failed({ work, endpoint, trace }: Call, ended: Ended, failure: ModelFailure): Promise<void> {
    const { pool, settings } = this.#options;
    const context = { endpoint: endpoint.name, pool, maxAttempts: settings.maxAttempts };
    const aftermath = await aftermathOf(work, ended, context);
    if (work.chunk.controller.signal.aborted || aftermath === 'nothing') return;
    if (aftermath === 'fail') {
      const error = { code: failure.code, message: failure.message, stage: 'generation' } as const;
      this.#options.onRecord(work, failedRecord(work, error, trace));
    } else if (aftermath === 'again') this.#again(work, failure);
    // While it waits it is not running: a stop need not wait for it.
    else void this.#againLater(work, failure, aftermath === 'paid');
  }

  async #againLater(work: Work, failure: ModelFailure, isPaid: boolean): Promise<void> {
    const { clock } = this.#options;
    const { signal } = work.chunk.controller;
    const { overload, misconfigured } = work.innocentFailures;
    const tries = work.attempts + (failure.class === 'overload' ? overload : misconfigured);
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
    this.#feed.pushFront(work);
    this.#pump();
  }

  /** A line that has another call, or was answered by it, needs nobody to mind it. */
  #surprise(work: Work, error: unknown): void {
    if (!work.isAnswered && !this.#calls.has(work)) this.#options.onSurprise(work, error);
  }

  #failForModel(work: Work): void {
    const served = this.#options.pool.endpoints.flatMap((endpoint) => endpoint.models.ids);
    const message = `No endpoint serves the model "${work.parsed.options.model}". Served: ${[...new Set(served)].join(', ')}.`;
    const error = { code: 'generation_misconfigured', message, stage: 'generation' } as const;
    this.#options.onRecord(work, failedRecord(work, error, null));
  }
}
