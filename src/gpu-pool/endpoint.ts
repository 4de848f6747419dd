// One model server behind its gate. What requests end with decides how many it gets, and whether it gets any.
//
// (E1) Nothing starts or waits here unless the endpoint is up: what waited when it left is handed back unsent.
// (E2) Real requests are judged first, looks second: a look that fails while requests run proves nothing.
// (E3) A full server (429, 503) is a healthy one: it has peace for as long as it asked, then one request at a time until
//      one is answered.
// (E4) An endpoint that was out comes back over a trial of the pool's own, never at the expense of a line.

import type { CallStage } from '../domain/call-stage.ts';
import type { ModelFailure } from '../domain/failure.ts';
import type { GenerationOutcome, ModelAnswer } from '../domain/generation.ts';
import type { ServerKind, ServerReport } from '../domain/server-kind.ts';
import type { BreakerState } from './breaker.ts';
import type { EndpointCandidate } from './candidates.ts';
import type { Ended } from './ended.ts';
import { EndpointFigures, tokensOf } from './endpoint-figures.ts';
import type { EndpointOptions } from './endpoint-options.ts';
import { type EndpointPhase, PHASE_OF_BREAKER } from './endpoint-phase.ts';
import { Gate, type GateRequest, NOT_SENT, type NotSent } from './gate.ts';
import { Health } from './health.ts';
import { ServedModels } from './served-models.ts';
import { AdaptiveWindow, type WindowSample } from './window.ts';

/** Shortest pause after an overload, whatever the server asks for, in milliseconds. */
const OVERLOAD_PAUSE_MIN_MS = 1_000;
/** Of the KV cache: the rest is for answers that turn out longer than expected. */
const KV_SHARE = 0.9;

const ANSWER: GateRequest = { tokens: 0, stage: 'generation' };

export class Endpoint {
  readonly name: string;
  readonly url: string;
  readonly isExpected: boolean;
  readonly roles: ReadonlySet<CallStage>;
  readonly figures = new EndpointFigures();
  readonly models: ServedModels;
  readonly #candidate: EndpointCandidate;
  readonly #options: EndpointOptions;
  readonly #window: AdaptiveWindow;
  readonly #gate: Gate;
  readonly #health: Health;
  #report: ServerReport | null = null;
  /** Why nobody is there. */
  #absence: string | null = null;
  #isDrained = false;
  /** One at a time until one is answered. */
  #isCautious = false;
  /** A connection broke just now: a look that finds nobody there is believed. */
  #isDoubted = false;

  constructor(candidate: EndpointCandidate, options: EndpointOptions) {
    this.name = candidate.name;
    this.url = candidate.url;
    this.isExpected = candidate.isExpected;
    this.roles = candidate.roles;
    this.models = new ServedModels(candidate.model);
    this.#candidate = candidate;
    this.#options = options;
    this.#window = new AdaptiveWindow({ fixed: options.fixedWindow });
    this.#gate = new Gate(this.#window.size, options.clock);
    this.#health = new Health(options.clock);
  }

  get phase(): EndpointPhase {
    if (this.#report === null) return 'absent';
    return PHASE_OF_BREAKER[this.breakerState];
  }

  /** Why it gets no lines; null when it does. */
  get reason(): string | null {
    if (this.phase === 'absent') return this.#absence;
    if (this.phase !== 'up') return this.#health.reason;
    if (this.#isDrained) return 'drained by hand';
    return this.#gate.isPausing ? 'full, and asked for patience' : null;
  }

  get breakerState(): BreakerState {
    return this.#health.breakerState;
  }

  /** When an endpoint that is down is to be looked at again, in monotonic milliseconds. */
  get lookAtMs(): number {
    return this.#health.lookAtMs;
  }

  /** null: not told by the settings and not found out yet. */
  get kind(): ServerKind | null {
    return this.#report?.server ?? this.#candidate.kind;
  }

  /** What it is to be looked at as; null: its kind is to be found out, as that of a server that is new or back. */
  get lookKind(): ServerKind | null {
    return this.phase === 'up' ? this.kind : this.#candidate.kind;
  }

  /** What the server last said of itself; null: nothing so far. */
  get report(): ServerReport | null {
    return this.#report;
  }

  get isDrained(): boolean {
    return this.#isDrained;
  }

  /** Requests that it may have in flight now. */
  get window(): number {
    return this.#window.size;
  }

  get inFlight(): number {
    return this.#gate.inFlight;
  }

  /** At the gate. */
  get waiting(): number {
    return this.#gate.waiting;
  }

  /** In flight and waiting, relative to the window: 1 means full. */
  get load(): number {
    return this.#gate.load;
  }

  /** Asked for patience, or not opened yet. */
  get isPaused(): boolean {
    return this.#gate.isClosed;
  }

  /** Refuses one line after the other: a trial has to tell whether it is the endpoint. */
  get isDoubtful(): boolean {
    return this.phase === 'up' && this.#health.isDoubtful;
  }

  /** Whether one more request may run or wait here. */
  hasRoom(request = ANSWER): boolean {
    return this.#isTaking && this.#gate.hasRoom(request);
  }

  /** Whether it would run at once. */
  isIdle(request = ANSWER): boolean {
    return this.#isTaking && this.#gate.isIdle(request);
  }

  serves(stage: CallStage, model: string | null): boolean {
    return !this.#isDrained && this.isUpFor(stage, model);
  }

  /** The same, were it not drained by hand. */
  isUpFor(stage: CallStage, model: string | null): boolean {
    return this.phase === 'up' && this.roles.has(stage) && this.models.has(model);
  }

  /** Nothing starts before the service is READY. */
  open(): void {
    this.#gate.open();
  }

  /** Runs one request through the gate and learns from how it ends. `not_sent`: the gate closed before its turn came. */
  async run(send: () => Promise<GenerationOutcome>, request = ANSWER): Promise<Ended | NotSent> {
    if (!this.#isTaking) return NOT_SENT;
    try {
      return await this.#gate.run(async () => {
        const { epoch } = this.#window;
        const startedAtMs = this.#options.clock.monotonicMs();
        const outcome = await send();
        const durationMs = this.#options.clock.monotonicMs() - startedAtMs;
        this.figures.ended(outcome, durationMs, request.stage);
        // Within the task: when it returns, the queue starts what waits before anybody else gets to know.
        return this.#learn(outcome, request.stage, { epoch, durationMs });
      }, request);
    } finally {
      if (this.inFlight === 0) this.#health.giveUp();
      this.#options.onChange(this);
    }
  }

  /** Hands back what waits at the gate: it may run elsewhere. What is in flight goes on. */
  releaseWaiting(): void {
    this.#gate.releaseWaiting();
  }

  /** The same, and what waits for a verdict need not wait for it any more. */
  handBack(): void {
    this.releaseWaiting();
    this.#health.giveUp();
  }

  /** A look succeeded. An endpoint that was out is now to be tried. */
  saw(report: ServerReport): void {
    this.#report = report;
    this.models.update(report);
    this.#window.hint({ maxRunning: report.maxRunning, isSerial: report.server === 'ollama' });
    this.#gate.tokensMax = report.kvCapacityTokens === null ? null : report.kvCapacityTokens * KV_SHARE;
    if (report.load !== null) this.#window.queueing(report.load.waiting);
    this.#health.seen();
    this.#fit();
    this.#options.onChange(this);
  }

  /** A look failed. While requests are in flight their own outcomes say more. */
  missed(failure: ModelFailure): void {
    const isTelling = this.inFlight === 0 || this.#isDoubted;
    if (this.#report === null) this.#absence = failure.message;
    // A look that began before it went says nothing new.
    else if (this.phase === 'down' && this.#options.clock.monotonicMs() < this.lookAtMs) return;
    else if (this.phase !== 'up' || (failure.class === 'hard' && isTelling)) {
      this.#health.missed(failure);
      this.#leave();
    }
    this.#options.onChange(this);
  }

  /** How the trial of an endpoint that was out, or is doubtful, has ended. */
  tried(outcome: ModelAnswer | ModelFailure): void {
    if (this.#health.tried(outcome, this.#options.hasSiblings(this))) this.#window.reopen();
    if (this.phase !== 'up') this.#leave();
    else this.#fit();
    this.#options.onChange(this);
  }

  /** A line that was refused here was answered elsewhere. */
  contradicted(): void {
    this.#health.contradicted();
    if (this.phase !== 'up') this.#leave();
    this.#options.onChange(this);
  }

  /** The server was stopped for good: whoever appears there again is a new one. */
  forget(): void {
    this.#report = null;
    this.models.clear();
    this.#health.forget();
    this.#options.onChange(this);
  }

  /** By hand: what runs ends, and nothing new is sent until it is taken back. */
  setDrained(isDrained: boolean): void {
    this.#isDrained = isDrained;
    if (isDrained) this.handBack();
    this.#options.onChange(this);
  }

  stop(): void {
    this.#gate.close();
    this.#health.giveUp();
  }

  get #isTaking(): boolean {
    return this.phase === 'up' && !this.#isDrained && !this.#health.isDoubtful;
  }

  #learn(
    outcome: GenerationOutcome,
    stage: CallStage,
    sample: Pick<WindowSample, 'epoch' | 'durationMs'>,
  ): Ended {
    if (outcome.kind === 'success') {
      this.#isCautious = false;
      this.#health.answered();
      // Digests and answers have speeds of their own: where there are both, only answers tell what a window is worth.
      if (stage === 'generation' || !this.roles.has('generation'))
        this.#window.answered({ ...sample, tokens: tokensOf(outcome), inFlight: this.inFlight });
      this.#fit();
      return { kind: 'ended', outcome, isInnocent: false, verdict: null };
    }
    const wasUp = this.phase === 'up';
    const verdict = this.#health.failed(outcome);
    if (wasUp && outcome.class === 'overload') {
      this.#window.overloaded(sample.epoch);
      this.#isCautious = true;
      const pauseMs = Math.max(OVERLOAD_PAUSE_MIN_MS, outcome.retryAfterMs ?? 0);
      this.#gate.pause(pauseMs, () => this.#options.onChange(this));
    }
    if (wasUp && this.phase !== 'up') this.#leave();
    else if (this.isDoubtful) this.handBack();
    this.#fit();
    const isInnocent = !wasUp || (outcome.isBroken === true && this.#hasDied());
    return { kind: 'ended', outcome, isInnocent, verdict };
  }

  /** Whether a broken answer was the death of the server: a look tells, at once. */
  async #hasDied(): Promise<boolean> {
    this.#isDoubted = true;
    if (this.phase === 'up') await this.#options.lookNow(this);
    this.#isDoubted = false;
    return this.phase !== 'up';
  }

  #leave(): void {
    this.handBack();
    this.#gate.endPause();
    this.#isCautious = false;
    this.#fit();
  }

  #fit(): void {
    this.#gate.size = this.#isCautious ? 1 : this.#window.size;
  }
}
