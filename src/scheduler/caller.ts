// Makes one call of a line: through the endpoint's gate, after the start mark, in a generation thread or, for a suspect, in
// a process of its own.
//
// (D3) No call leaves before the line's start mark is stored. A line that waits at an endpoint's gate has it already.

import type { GenerationOutcome, GenerationTask } from '../domain/generation.ts';
import { estimatedTokens } from '../generation/prompt-size.ts';
import { TokenRatios } from '../generation/token-ratios.ts';
import type { Ended } from '../gpu-pool/ended.ts';
import type { Endpoint } from '../gpu-pool/endpoint.ts';
import type { NotSent } from '../gpu-pool/gate.ts';
import { cancelledFailure } from '../model-server/failures.ts';
import { newRequestId } from '../model-server/taking-back.ts';
import type { Clock } from '../time.ts';
import type { Call } from './calls.ts';
import { bytesOf, mostAnswerTokens } from './line-prompt.ts';
import type { Stages } from './stages.ts';
import type { LeasedChunk, Work } from './work.ts';

type Generate = (task: GenerationTask, signal: AbortSignal) => Promise<GenerationOutcome>;

export interface CallerOptions {
  readonly generate: Generate;
  /** The same in a process of its own, for suspects. */
  readonly generateAlone: Generate;
  /** Resolves when the line's start mark is stored; false: it must not start. */
  readonly markStarted: (work: Work) => Promise<boolean>;
  readonly stages: Stages;
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
  /** Of the calls in flight: one listener a chunk costs less than one a line. */
  readonly #controllers = new WeakMap<LeasedChunk, Set<AbortController>>();
  #lastTaskId = 0;

  constructor(options: CallerOptions) {
    this.#options = options;
  }

  /** A call that is to be made. */
  prepare(work: Work, endpoint: Endpoint, isHedge: boolean): Call {
    const { stage, state } = work;
    const model = this.#options.stages[stage].modelOf(work);
    const trace = { endpoint: endpoint.name, model: model ?? endpoint.models.default ?? '', durationMs: 0 };
    const controller = new AbortController();
    return { work, stage, state, model, endpoint, isHedge, controller, trace, sentAtMs: null };
  }

  async make(call: Call): Promise<Ended | NotSent> {
    const { work, stage, state, endpoint, controller } = call;
    const chunkSignal = work.chunk.controller.signal;
    const controllers = this.#controllersOf(work.chunk);
    controllers.add(controller);
    const marked = this.#options.markStarted(work);
    try {
      const send = async () => {
        const { signal } = controller;
        if (!(await marked) || signal.aborted || chunkSignal.aborted) return cancelledFailure();
        return this.#send(call, signal);
      };
      return await endpoint.run(send, { tokens: state.tokens, stage });
    } finally {
      controllers.delete(controller);
    }
  }

  /** What the line takes of a KV cache, prompt and answer, in tokens. */
  tokensOf(work: Work): number {
    const stage = this.#options.stages[work.stage];
    const asked = stage.promptOf(work);
    const prompt = estimatedTokens(bytesOf(asked), this.#ratios.of(stage.modelOf(work)), 2);
    return prompt + Math.min(mostAnswerTokens(asked) ?? USUAL_ANSWER_TOKENS, USUAL_ANSWER_TOKENS);
  }

  /** They are aborted with the chunk. */
  #controllersOf(chunk: LeasedChunk): Set<AbortController> {
    const known = this.#controllers.get(chunk);
    if (known) return known;
    const controllers = new Set<AbortController>();
    const abortAll = () => {
      for (const controller of controllers) controller.abort();
    };
    chunk.controller.signal.addEventListener('abort', abortAll, { once: true });
    this.#controllers.set(chunk, controllers);
    return controllers;
  }

  async #send(call: Call, signal: AbortSignal): Promise<GenerationOutcome> {
    const { clock, generate, generateAlone } = this.#options;
    const { work, trace } = call;
    const startedAtMs = clock.monotonicMs();
    call.sentAtMs = startedAtMs;
    if (!call.isHedge) work.queuedMs += startedAtMs - work.readyAtMs;
    const task = this.#task(call);
    try {
      const outcome = await (work.isSuspect ? generateAlone : generate)(task, signal);
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
