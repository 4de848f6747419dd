// Makes one call of a line: through the endpoint's gate, after the start mark, in a generation thread or, for a suspect, in
// a process of its own.
//
// (D3) No call leaves before the line's start mark is stored. A line that waits at an endpoint's gate has it already.

import type { GenerationOutcome, GenerationTask } from '../domain/generation.ts';
import { estimatedTokens } from '../generation/prompt-size.ts';
import { TaskCancel } from '../generation/task-cancel.ts';
import { TokenRatios } from '../generation/token-ratios.ts';
import type { Ended } from '../gpu-pool/ended.ts';
import type { Endpoint } from '../gpu-pool/endpoint.ts';
import type { NotSent } from '../gpu-pool/gate.ts';
import type { GpuPool } from '../gpu-pool/gpu-pool.ts';
import { cancelledFailure } from '../model-server/failures.ts';
import type { CancelSignal } from '../model-server/model-server-client.ts';
import { newRequestId } from '../model-server/taking-back.ts';
import type { Clock } from '../time.ts';
import type { Call, Calls } from './calls.ts';
import { bytesOf, mostAnswerTokens } from './line-prompt.ts';
import { releaseFollowers } from './stage-state.ts';
import type { Stages } from './stages.ts';
import type { LeasedChunk, Work } from './work.ts';

/** `onBegun` is called when the answer begins to come. */
export type Generate = (
  task: GenerationTask,
  signal: CancelSignal,
  onBegun?: () => void,
) => Promise<GenerationOutcome>;

export interface CallerOptions {
  /** Those in flight. */
  readonly calls: Calls;
  readonly generate: Generate;
  /** The same in a process of its own, for suspects. */
  readonly generateAlone: Generate;
  /** Resolves when the line's start mark is stored; false: it must not start. */
  readonly markStarted: (work: Work) => Promise<boolean>;
  readonly stages: Stages;
  readonly pool: Pick<GpuPool, 'contextTokens'>;
  readonly apiKey: string | null;
  /** Tokens of prompt and answer together where a server does not say; null: not known. */
  readonly contextTokens: number | null;
  readonly clock: Clock;
}

/** Length of an answer, in tokens, for the KV cache: few models use up what they are granted. */
export const USUAL_ANSWER_TOKENS = 256;

export class Caller {
  readonly #options: CallerOptions;
  readonly #ratios = new TokenRatios();
  /** One listener a chunk costs less than one a line. */
  readonly #listenedTo = new WeakSet<LeasedChunk>();
  #lastTaskId = 0;

  constructor(options: CallerOptions) {
    this.#options = options;
  }

  /** A call that is to be made. */
  prepare(work: Work, endpoint: Endpoint, isHedge: boolean): Call {
    const { stage, state } = work;
    const model = this.#options.stages[stage].modelOf(work);
    const trace = { endpoint: endpoint.name, model: model ?? endpoint.models.default ?? '', durationMs: 0 };
    const cancel = new TaskCancel();
    return { work, stage, state, model, endpoint, isHedge, cancel, trace, sentAtMs: null, place: -1 };
  }

  async make(call: Call): Promise<Ended | NotSent> {
    const { work, stage, state, endpoint, cancel } = call;
    const chunkSignal = work.chunk.controller.signal;
    this.#listenTo(work.chunk);
    const marked = this.#options.markStarted(work);
    const send = async () => {
      if (!(await marked) || cancel.aborted || chunkSignal.aborted) return cancelledFailure();
      return this.#send(call);
    };
    const ran = endpoint.run(send, { tokens: state.tokens, stage });
    return state.release === null ? ran : ran.finally(() => releaseFollowers(state, false));
  }

  /** What the line takes of a KV cache, prompt and answer, in tokens. What does not fit the model's context is cut. */
  tokensOf(work: Work): number {
    const stage = this.#options.stages[work.stage];
    const asked = stage.promptOf(work);
    const model = stage.modelOf(work);
    const prompt = estimatedTokens(bytesOf(asked), this.#ratios.of(model), 2);
    const answer = Math.min(mostAnswerTokens(asked) ?? USUAL_ANSWER_TOKENS, USUAL_ANSWER_TOKENS);
    const most = this.#options.pool.contextTokens(work.stage, model) ?? this.#options.contextTokens;
    return Math.min(prompt + answer, most ?? Number.POSITIVE_INFINITY);
  }

  /** Its calls are aborted with it. */
  #listenTo(chunk: LeasedChunk): void {
    if (this.#listenedTo.has(chunk)) return;
    this.#listenedTo.add(chunk);
    const abortAll = () => {
      for (const { cancel } of this.#options.calls.of(chunk)) cancel.abort();
    };
    chunk.controller.signal.addEventListener('abort', abortAll, { once: true });
  }

  async #send(call: Call): Promise<GenerationOutcome> {
    const { clock, generate, generateAlone } = this.#options;
    const { work, trace, state, cancel } = call;
    const startedAtMs = clock.monotonicMs();
    call.sentAtMs = startedAtMs;
    if (!call.isHedge) work.queuedMs += startedAtMs - work.readyAtMs;
    const task = this.#task(call);
    try {
      // An answer that comes as a whole does not tell when it begins.
      if (task.request.shape === 'openai') releaseFollowers(state, true);
      const onBegun = state.release === null ? undefined : () => releaseFollowers(state, true);
      const outcome = await (work.isSuspect ? generateAlone : generate)(task, cancel, onBegun);
      this.#ratios.learn(task.model, outcome.bytesPerToken);
      return outcome;
    } finally {
      call.trace = { ...trace, durationMs: clock.monotonicMs() - startedAtMs };
    }
  }

  #task({ work, stage: name, endpoint, trace: { model } }: Call): GenerationTask {
    const { stages, apiKey, contextTokens } = this.#options;
    const stage = stages[name];
    const { totalTimeoutMs, firstTokenTimeoutMs, stallTimeoutMs } = stage.limits;
    this.#lastTaskId += 1;
    return {
      ...stage.promptOf(work),
      id: this.#lastTaskId,
      requestId: newRequestId(),
      serverKind: endpoint.kind ?? 'generic',
      endpointUrl: endpoint.url,
      apiKey,
      model,
      contextTokens: endpoint.models.contextTokensOf(model) ?? contextTokens,
      bytesPerToken: this.#ratios.of(model),
      totalTimeoutMs,
      firstTokenTimeoutMs,
      stallTimeoutMs,
    };
  }
}
