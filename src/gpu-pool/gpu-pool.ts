// The pool: which endpoints there are, which of them are up, and which one gets the next line.

import type { CallStage } from '../domain/call-stage.ts';
import type { Clock } from '../time.ts';
import type { EndpointCandidate } from './candidates.ts';
import { Endpoint } from './endpoint.ts';
import { type EndpointState, stateOf } from './endpoint-state.ts';
import { EndpointWatch, type EndpointWatchOptions } from './endpoint-watch.ts';
import type { GateRequest } from './gate.ts';
import type { GpuCount } from './gpu-count.ts';
import { isKnown, waitingFor } from './pool-words.ts';

interface PoolLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export type GpusFound = Omit<GpuCount, 'notes'>;

export interface GpuPoolOptions extends Pick<EndpointWatchOptions, 'inspect' | 'tryOut'> {
  readonly candidates: readonly EndpointCandidate[];
  /** Requests that each endpoint may have in flight; null: as many as turn out best. */
  readonly window: number | null;
  /** How many GPUs there are, and so model servers there should be. */
  readonly gpus: GpusFound;
  readonly clock: Clock;
  readonly log: PoolLog;
}

/** A request of unknown size. */
const ANY: Readonly<Record<CallStage, GateRequest>> = {
  rag: { tokens: 0, stage: 'rag' },
  generation: { tokens: 0, stage: 'generation' },
};
const NONE: ReadonlySet<string> = new Set();

export class GpuPool {
  readonly endpoints: readonly Endpoint[];
  readonly #options: GpuPoolOptions;
  readonly #watch: EndpointWatch;
  /** What the log last said of each endpoint. */
  readonly #said = new Map<Endpoint, string>();
  readonly #pickedAt = new Map<Endpoint, number>();
  #picks = 0;
  #onRoom: () => void = () => {};
  /** What to do when nobody is there; null: nothing that is known. */
  hint: string | null = null;

  constructor(options: GpuPoolOptions) {
    this.#options = options;
    const { clock, log } = options;
    const onChange = (endpoint: Endpoint) => this.#changed(endpoint);
    const hasSiblings = ({ name, roles }: Endpoint) =>
      [...roles].every((stage) => this.isServedBeside(new Set([name]), stage, null));
    const lookNow = (endpoint: Endpoint) => this.#watch.lookNow(endpoint);
    this.endpoints = options.candidates.map(
      (candidate) =>
        new Endpoint(candidate, { fixedWindow: options.window, clock, lookNow, hasSiblings, onChange }),
    );
    this.#watch = new EndpointWatch({
      ...options,
      endpoints: this.endpoints,
      onSurprise: (endpoint, error) =>
        log.error({ err: error, endpoint: endpoint.name }, 'endpoint could not be looked at'),
    });
  }

  /** Looks at every candidate once, then keeps looking until stop(). */
  start(): Promise<void> {
    return this.#watch.start();
  }

  /** Lets requests through: called once the collection is READY. */
  open(): void {
    for (const endpoint of this.endpoints) endpoint.open();
    this.#onRoom();
  }

  /** Calls back whenever some endpoint may have room. */
  whenRoom(onRoom: () => void): void {
    this.#onRoom = onRoom;
  }

  /** Those that the settings name, or that were found. */
  get known(): Endpoint[] {
    return this.endpoints.filter(isKnown);
  }

  find(name: string): Endpoint | null {
    return this.known.find((endpoint) => endpoint.name === name) ?? null;
  }

  /** Endpoints that are up for the stage and serve the model (null: any model), be they busy or not. */
  serving(stage: CallStage, model: string | null): Endpoint[] {
    return this.endpoints.filter((endpoint) => endpoint.serves(stage, model));
  }

  /**
   * Those of them with room for one more call, the least loaded first. Endpoints in `avoid` are among them only when no
   * other one serves the model.
   */
  withRoom(stage: CallStage, model: string | null, avoid: ReadonlySet<string> = NONE): Endpoint[] {
    const serving = this.serving(stage, model);
    const preferred = avoid.size === 0 ? serving : serving.filter(({ name }) => !avoid.has(name));
    const found = (preferred.length > 0 ? preferred : serving).filter((endpoint) =>
      endpoint.hasRoom(ANY[stage]),
    );
    // Asked for every line: one endpoint is in order.
    if (found.length < 2) return found;
    return found.sort((a, b) => a.load - b.load || this.#lastPick(a) - this.#lastPick(b));
  }

  /** It got a call: among equals the others are next. */
  picked(endpoint: Endpoint): void {
    this.#picks += 1;
    this.#pickedAt.set(endpoint, this.#picks);
  }

  /** Whether another endpoint that is up serves the model: one that is not among `names`. */
  isServedBeside(names: ReadonlySet<string>, stage: CallStage, model: string | null): boolean {
    return this.endpoints.some((endpoint) => !names.has(endpoint.name) && endpoint.serves(stage, model));
  }

  /**
   * True when all that should be up is, and none of them serves the model: waiting would be in vain. A server that has
   * served it may come back, though, be it one that nobody named and that is gone.
   */
  servesNowhere(stage: CallStage, model: string): boolean {
    const known = this.known.filter(({ roles }) => roles.has(stage));
    return (
      known.length > 0 &&
      known.every((endpoint) => endpoint.phase === 'up' && !endpoint.isDrained) &&
      !this.endpoints.some(({ roles, models }) => roles.has(stage) && models.hasHad(model))
    );
  }

  /** Whether any endpoint would take a call of this stage now. */
  hasRoom(stage: CallStage): boolean {
    return this.endpoints.some((endpoint) => endpoint.roles.has(stage) && endpoint.hasRoom(ANY[stage]));
  }

  /** Whether some endpoint that is up serves the model (null: any chat model) for this stage, be it busy or not. */
  isServing(stage: CallStage, model: string | null = null): boolean {
    return this.endpoints.some((endpoint) => endpoint.serves(stage, model));
  }

  /** Whether none of the endpoints that could serve the model (null: any) is up. One drained by hand is not down. */
  isDown(stage: CallStage, model: string | null): boolean {
    return !this.endpoints.some((endpoint) => endpoint.isUpFor(stage, model));
  }

  /** Tokens that prompt and answer can have together where there are most; null: nobody who serves the model, or not all, say. */
  contextTokens(stage: CallStage, model: string | null): number | null {
    let most: number | null = null;
    for (const endpoint of this.endpoints) {
      if (!endpoint.serves(stage, model)) continue;
      const said = endpoint.models.contextTokensOf(model ?? endpoint.models.default ?? '');
      if (said === null) return null;
      most = Math.max(most ?? 0, said);
    }
    return most;
  }

  get gpus(): GpusFound {
    return this.#options.gpus;
  }

  /** Requests that all endpoints that are up may have in flight together, of this stage if of no other. */
  slots(stage: CallStage): number {
    const up = this.endpoints.filter(({ phase, roles }) => phase === 'up' && roles.has(stage));
    return up.reduce((sum, { window }) => sum + window, 0);
  }

  /** How many model servers should be there and are not up. */
  get missing(): number {
    const up = this.endpoints.filter((endpoint) => endpoint.phase === 'up').length;
    const expected = this.endpoints.filter((endpoint) => endpoint.isExpected).length;
    return Math.max(0, Math.max(expected, this.gpus.count ?? 0) - up);
  }

  /** Why no call of this stage can be made of this model (null: any) now, in one line; null when one can. */
  waitingFor(stage: CallStage, model: string | null): string | null {
    return waitingFor(this.endpoints, { stage, model, hint: this.hint });
  }

  async stop(): Promise<void> {
    for (const endpoint of this.endpoints) endpoint.stop();
    await this.#watch.stop();
  }

  #changed(endpoint: Endpoint): void {
    this.#say(endpoint);
    this.#onRoom();
  }

  /** One log line for every change of state; a port where nobody ever answered is no endpoint and says nothing. */
  #say(endpoint: Endpoint): void {
    const state = stateOf(endpoint);
    const before = this.#said.get(endpoint);
    if (state === before || (before === undefined && state === 'absent' && !endpoint.isExpected)) return;
    this.#said.set(endpoint, state);
    const { name, url, kind, reason } = endpoint;
    const fields = { endpoint: name, url };
    const { log } = this.#options;
    if (state === 'up') log.info({ ...fields, kind, models: endpoint.models.ids }, STATE_MESSAGES.up);
    else if (state === 'down') log.warn({ ...fields, reason }, STATE_MESSAGES.down);
    else if (before === undefined) log.warn({ ...fields, reason }, 'endpoint does not answer');
    else log.info(fields, STATE_MESSAGES[state]);
  }

  #lastPick(endpoint: Endpoint): number {
    return this.#pickedAt.get(endpoint) ?? 0;
  }
}

const STATE_MESSAGES: Readonly<Record<EndpointState, string>> = {
  absent: 'endpoint is gone',
  up: 'endpoint is up',
  trial: 'endpoint is back, and is tried',
  down: 'endpoint is down',
  draining: 'endpoint is being drained',
  drained: 'endpoint is drained',
};
