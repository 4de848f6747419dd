// Takes lines from the feed to the endpoints, and decides what follows from how each generation ends.
//
// (D1) A line ends with exactly one record, or its lease is gone.
// (D2) Only failures of the line's own tries count as attempts: an endpoint that dies, is full or is misconfigured
//      under it does not.
// (D3) No call leaves before the line's start mark is stored. A line that waits at an endpoint's gate has it already.
// (D4) Suspects run one at a time, each in a process of its own.

import type { ModelFailure } from '../domain/failure.ts';
import type { GenerationOutcome, GenerationTask } from '../domain/generation.ts';
import type { NewRecord } from '../domain/record.ts';
import type { Endpoint } from '../gpu-pool/endpoint.ts';
import type { GpuPool } from '../gpu-pool/gpu-pool.ts';
import type { Metrics } from '../metrics.ts';
import { cancelledFailure } from '../model-server/failures.ts';
import { type Clock, fullJitterMs } from '../time.ts';
import { Feed } from './feed.ts';
import { failedRecord, type GenerationTrace, succeededRecord } from './result-record.ts';
import { passagesOf, type Work } from './work.ts';

export interface GenerationSettings {
  readonly apiKey: string | null;
  readonly maxAttempts: number;
  readonly totalTimeoutMs: number;
  readonly firstTokenTimeoutMs: number;
  readonly stallTimeoutMs: number;
}

export interface DispatcherOptions {
  readonly pool: GpuPool;
  readonly generate: (task: GenerationTask, signal: AbortSignal) => Promise<GenerationOutcome>;
  /** The same in a process of its own, for suspects. */
  readonly generateAlone: (task: GenerationTask, signal: AbortSignal) => Promise<GenerationOutcome>;
  /** Resolves when the line's start mark is stored; false: it must not start. */
  readonly markStarted: (work: Work) => Promise<boolean>;
  readonly settings: GenerationSettings;
  readonly defaultSystemPrompt: string;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly onRecord: (work: Work, record: NewRecord) => void;
  readonly onSurprise: (work: Work, error: unknown) => void;
}

/**
 * What a line survives without blame: endpoints that die under it, are full, or cannot serve it. Beyond, the line may be
 * the reason. A full server is normal, so it counts for little; the waits make a hundred of them some ten minutes.
 */
const INNOCENT_LIMITS = { hard: 10, overload: 100, misconfigured: 3 } as const;
/** Tries that a record tells of: the last ones. */
const TRIES_KEPT = 20;
/** Backoff between attempts of a line, in milliseconds. */
const RETRY_BASE_MS = 100;
const RETRY_CAP_MS = 10_000;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #feed = new Feed();
  /** The suspect in flight; the others wait in the feed. */
  #suspect: Work | null = null;
  readonly #running = new Set<Promise<void>>();
  #lastTaskId = 0;
  #isStopped = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    options.pool.whenRoom(() => this.#pump());
  }

  /** A line that is ready for a model server. */
  add(work: Work): void {
    work.readyAtMs = this.#options.clock.monotonicMs();
    this.#feed.push(work);
    this.#pump();
  }

  /** Takes out what matches and is not in flight; what is in flight ends by its chunk's signal, or finishes. */
  takeBack(matches: (work: Work) => boolean): Work[] {
    return this.#feed.remove(matches);
  }

  /** No generation starts afterwards; those in flight have `graceMs` to end. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopped = true;
    for (const endpoint of this.#options.pool.endpoints) endpoint.releaseWaiting();
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
      if (!next) return;
      if (next.place === 'nowhere') this.#failForModel(next.work);
      else this.#start(next.work, next.place);
    }
  }

  #place(pool: GpuPool, work: Work): Endpoint | 'nowhere' | null {
    if (work.isSuspect && this.#suspect !== null) return null;
    const { model } = work.parsed.options;
    const endpoint = pool.pick(model, work.avoid);
    return endpoint === null && model !== null && pool.servesNowhere(model) ? 'nowhere' : endpoint;
  }

  #start(work: Work, endpoint: Endpoint): void {
    if (work.isSuspect) this.#suspect = work;
    const running = this.#generate(work, endpoint)
      .catch((error) => this.#options.onSurprise(work, error))
      .finally(() => {
        this.#running.delete(running);
        if (this.#suspect !== work) return;
        this.#suspect = null;
        this.#pump();
      });
    this.#running.add(running);
  }

  async #generate(work: Work, endpoint: Endpoint): Promise<void> {
    const { clock, metrics } = this.#options;
    const { signal } = work.chunk.controller;
    const trace = { endpoint: endpoint.name, model: this.#modelFor(work, endpoint), durationMs: 0 };
    const marked = this.#options.markStarted(work);
    const outcome = await endpoint.run(async () => {
      if (!(await marked) || signal.aborted) return cancelledFailure();
      const startedAtMs = clock.monotonicMs();
      work.queuedMs += startedAtMs - work.readyAtMs;
      const generate = work.isSuspect ? this.#options.generateAlone : this.#options.generate;
      return generate(this.#task(work, endpoint, trace.model), signal).finally(() => {
        trace.durationMs = clock.monotonicMs() - startedAtMs;
      });
    });
    if (outcome.kind === 'not_sent') return this.#unsent(work);
    remember(work, outcome, trace);
    metrics.endpointRequests.inc({
      endpoint: endpoint.name,
      class: outcome.kind === 'success' ? 'success' : outcome.class,
    });
    if (signal.aborted) return;
    if (outcome.kind === 'success') {
      work.attempts += 1;
      metrics.stageDuration.observe({ stage: 'queued' }, work.queuedMs / 1000);
      metrics.stageDuration.observe({ stage: 'generation' }, trace.durationMs / 1000);
      this.#options.onRecord(work, succeededRecord(work, outcome, trace));
    } else {
      this.#afterFailure(work, outcome, trace);
    }
  }

  #afterFailure(work: Work, failure: ModelFailure, trace: GenerationTrace): void {
    switch (failure.class) {
      case 'hard':
      case 'overload':
      case 'misconfigured':
        work.innocentFailures[failure.class] += 1;
        if (work.innocentFailures[failure.class] > INNOCENT_LIMITS[failure.class])
          this.#fail(work, failure, trace);
        else if (failure.class === 'hard') this.#again(work, failure, trace);
        else this.#againLater(work, failure, trace);
        break;
      case 'ambiguous':
        work.attempts += 1;
        if (work.attempts >= this.#options.settings.maxAttempts) this.#fail(work, failure, trace);
        else this.#againLater(work, failure, trace);
        break;
      case 'request':
        work.attempts += 1;
        this.#fail(work, failure, trace);
        break;
      case 'cancelled':
        // By an aborted chunk, whose lines are no longer ours, or by the stop, which gives them back.
        break;
      default:
        failure.class satisfies never;
    }
  }

  /** While it waits it is not running: a stop need not wait for it. */
  #againLater(work: Work, failure: ModelFailure, trace: GenerationTrace): void {
    const tries =
      work.attempts + work.innocentFailures[failure.class === 'overload' ? 'overload' : 'misconfigured'];
    const waitMs = fullJitterMs(tries, RETRY_BASE_MS, RETRY_CAP_MS);
    this.#options.clock.sleep(waitMs, work.chunk.controller.signal).then(
      () => this.#again(work, failure, trace),
      () => {
        // The lease is gone, and the line with it.
      },
    );
  }

  #again(work: Work, failure: ModelFailure, trace: GenerationTrace): void {
    if (work.chunk.controller.signal.aborted) return;
    this.#options.metrics.retries.inc({ reason: failure.class });
    // A full server is a good one: only its queue has to be waited for.
    if (failure.class !== 'overload') work.avoid.add(trace.endpoint);
    this.#unsent(work);
  }

  /** Back to the head of its queue. */
  #unsent(work: Work): void {
    if (work.chunk.controller.signal.aborted) return;
    work.readyAtMs = this.#options.clock.monotonicMs();
    this.#feed.pushFront(work);
    this.#pump();
  }

  #fail(work: Work, failure: ModelFailure, trace: GenerationTrace): void {
    const error = { code: failure.code, message: failure.message, stage: 'generation' } as const;
    this.#options.onRecord(work, failedRecord(work, error, trace));
  }

  #failForModel(work: Work): void {
    const served = this.#options.pool.endpoints.flatMap((endpoint) =>
      endpoint.state.phase === 'up' ? endpoint.state.models : [],
    );
    const message = `No endpoint serves the model "${work.parsed.options.model}". Served: ${[...new Set(served)].join(', ')}.`;
    const error = { code: 'generation_misconfigured', message, stage: 'generation' } as const;
    this.#options.onRecord(work, failedRecord(work, error, null));
  }

  #modelFor(work: Work, endpoint: Endpoint): string {
    return work.parsed.options.model ?? endpoint.defaultModel ?? '';
  }

  #task(work: Work, endpoint: Endpoint, model: string): GenerationTask {
    const { settings, defaultSystemPrompt } = this.#options;
    const { options, request } = work.parsed;
    this.#lastTaskId += 1;
    return {
      id: this.#lastTaskId,
      endpointUrl: endpoint.url,
      apiKey: settings.apiKey,
      model,
      request,
      systemPrompt: options.systemPrompt ?? defaultSystemPrompt,
      maxTokens: options.maxTokens,
      temperature: options.temperature,
      passages: passagesOf(work),
      totalTimeoutMs: settings.totalTimeoutMs,
      firstTokenTimeoutMs: settings.firstTokenTimeoutMs,
      stallTimeoutMs: settings.stallTimeoutMs,
    };
  }
}

function remember(work: Work, outcome: GenerationOutcome, trace: GenerationTrace): void {
  if (outcome.kind === 'failure' && outcome.class === 'cancelled') return;
  work.promptHash = outcome.promptHash ?? work.promptHash;
  const [ending, code, message] =
    outcome.kind === 'success' ? ['success', null, null] : [outcome.class, outcome.code, outcome.message];
  const durationMs = Math.round(trace.durationMs);
  work.tries.push({ endpoint: trace.endpoint, ending, code, message, durationMs });
  if (work.tries.length > TRIES_KEPT) work.tries.shift();
}
