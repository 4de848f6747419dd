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
import { passagesOf, type Work } from './work.ts';

export interface GenerationSettings {
  readonly apiKey: string | null;
  readonly maxAttempts: number;
  readonly totalTimeoutMs: number;
  readonly firstTokenTimeoutMs: number;
  readonly stallTimeoutMs: number;
  /** Tokens of prompt and answer together where a server does not say; null: not known. */
  readonly contextTokens: number | null;
}

type Generate = (task: GenerationTask, signal: AbortSignal) => Promise<GenerationOutcome>;

export interface CallerOptions {
  readonly generate: Generate;
  /** The same in a process of its own, for suspects. */
  readonly generateAlone: Generate;
  /** Resolves when the line's start mark is stored; false: it must not start. */
  readonly markStarted: (work: Work) => Promise<boolean>;
  readonly settings: GenerationSettings;
  readonly defaultSystemPrompt: string;
  readonly clock: Clock;
}

/** Length of an answer, in tokens, for the KV cache: few models use up what they are granted. */
const USUAL_ANSWER_TOKENS = 256;

export class Caller {
  readonly #options: CallerOptions;
  readonly #ratios = new TokenRatios();
  #lastTaskId = 0;

  constructor(options: CallerOptions) {
    this.#options = options;
  }

  /** A call that is to be made. */
  prepare(work: Work, endpoint: Endpoint, isHedge: boolean): Call {
    const model = work.parsed.options.model ?? endpoint.models.default ?? '';
    const trace = { endpoint: endpoint.name, model, durationMs: 0 };
    return { work, endpoint, isHedge, controller: new AbortController(), trace, sentAtMs: null };
  }

  async make(call: Call): Promise<Ended | NotSent> {
    const { work, endpoint, controller } = call;
    const chunkSignal = work.chunk.controller.signal;
    const abort = () => controller.abort();
    chunkSignal.addEventListener('abort', abort, { once: true });
    const marked = this.#options.markStarted(work);
    try {
      return await endpoint.run(async () => {
        const { signal } = controller;
        if (!(await marked) || signal.aborted || chunkSignal.aborted) return cancelledFailure();
        return this.#send(call, signal);
      }, work.tokens);
    } finally {
      chunkSignal.removeEventListener('abort', abort);
    }
  }

  /** What the line takes of a KV cache, prompt and answer, in tokens. */
  tokensOf(work: Work): number {
    const { request, options } = work.parsed;
    const system = options.systemPrompt ?? this.#options.defaultSystemPrompt;
    const asked = request.shape === 'openai' ? JSON.stringify(request.body.messages) : request.query;
    const texts = [system, options.template ?? '', asked, ...passagesOf(work).map(({ text }) => text)];
    const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    const prompt = estimatedTokens(bytes, this.#ratios.of(options.model), 2);
    return prompt + Math.min(options.maxTokens, USUAL_ANSWER_TOKENS);
  }

  async #send(call: Call, signal: AbortSignal): Promise<GenerationOutcome> {
    const { clock, generate, generateAlone } = this.#options;
    const { work, endpoint, trace } = call;
    const startedAtMs = clock.monotonicMs();
    call.sentAtMs = startedAtMs;
    if (!call.isHedge) work.queuedMs += startedAtMs - work.readyAtMs;
    const task = this.#task(work, endpoint, trace.model);
    try {
      const outcome = await (work.isSuspect ? generateAlone : generate)(task, signal);
      this.#ratios.learn(task.model, outcome.bytesPerToken);
      return outcome;
    } finally {
      call.trace = { ...trace, durationMs: clock.monotonicMs() - startedAtMs };
    }
  }

  #task(work: Work, endpoint: Endpoint, model: string): GenerationTask {
    const { settings, defaultSystemPrompt } = this.#options;
    const { options, request } = work.parsed;
    this.#lastTaskId += 1;
    return {
      id: this.#lastTaskId,
      requestId: newRequestId(),
      serverKind: endpoint.kind ?? 'generic',
      endpointUrl: endpoint.url,
      apiKey: settings.apiKey,
      model,
      contextTokens: endpoint.models.contextTokensOf(model) ?? settings.contextTokens,
      bytesPerToken: this.#ratios.of(model),
      request,
      systemPrompt: options.systemPrompt ?? defaultSystemPrompt,
      template: options.template,
      maxTokens: options.maxTokens,
      temperature: options.temperature,
      passages: passagesOf(work),
      totalTimeoutMs: settings.totalTimeoutMs,
      firstTokenTimeoutMs: settings.firstTokenTimeoutMs,
      stallTimeoutMs: settings.stallTimeoutMs,
    };
  }
}
