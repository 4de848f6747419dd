// A GPU that serves a model, as time sees it: continuous batching. In each step it prefills a limited number of tokens of
// prompts, first come, first served, and makes one token of each answer under way. It knows no clock: whoever drives it is
// told how long each step took, and can let that time pass or only count it.
//
// A step takes its base time (reading the weights), time for each token that is prefilled, and time for each
// answer that goes on. What is in the KV cache is not prefilled. A request waits until there is a slot, room in the cache,
// and something left of the step's prefill.

import { type Held, PrefixCache } from './slot-prefix-cache.ts';
import { BLOCK_TOKENS, type Prompt } from './slot-prompt.ts';

export interface GpuOptions {
  readonly slots: number;
  readonly kvCapacityTokens: number;
  /** Whatever the step holds. */
  readonly stepMs: number;
  /** More for each answer that goes on. */
  readonly decodeMs: number;
  readonly prefillTokensPerMs: number;
  /** Most tokens prefilled in one step. */
  readonly chunkTokens: number;
  /** vLLM shares the blocks of a prompt from the step on in which it is admitted, SGLang when they are prefilled. */
  readonly isSharedAtOnce: boolean;
}

/** What is asked of it: a prompt, and so many tokens of an answer. */
export interface GpuRequest {
  readonly prompt: Prompt;
  readonly answerTokens: number;
}

interface Running<Request> {
  readonly request: Request;
  readonly held: Held;
  readonly cachedTokens: number;
  toPrefill: number;
  madeTokens: number;
}

/** All that happened in a step; it is to be heard of at the step's end. */
export interface Step<Request> {
  readonly durationMs: number;
  readonly prefilledTokens: number;
  /** Have a slot since the step's beginning. */
  readonly admitted: readonly { readonly request: Request; readonly cachedTokens: number }[];
  /** Have the first token of their answer. */
  readonly begun: readonly Request[];
  readonly done: readonly Request[];
}

export class Gpu<Request extends GpuRequest> {
  readonly #options: GpuOptions;
  readonly #cache: PrefixCache;
  readonly #waiting = new Set<Request>();
  readonly #running = new Map<Request, Running<Request>>();

  constructor(options: GpuOptions) {
    this.#options = options;
    this.#cache = new PrefixCache(Math.floor(options.kvCapacityTokens / BLOCK_TOKENS));
  }

  get running(): number {
    return this.#running.size;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  add(request: Request): void {
    this.#waiting.add(request);
  }

  /** Nobody wants its answer any more. */
  remove(request: Request): void {
    this.#waiting.delete(request);
    const running = this.#running.get(request);
    if (running) this.#end(running);
  }

  /** null: there is nothing to do. */
  step(): Step<Request> | null {
    const { stepMs, decodeMs, prefillTokensPerMs, chunkTokens } = this.#options;
    if (this.#running.size + this.#waiting.size === 0) return null;
    const decoding = [...this.#running.values()].filter(({ toPrefill }) => toPrefill === 0);
    let budget = chunkTokens;
    const begun: Running<Request>[] = [];
    const prefill = (running: Running<Request>) => {
      const tokens = Math.min(budget, running.toPrefill);
      running.toPrefill -= tokens;
      budget -= tokens;
      if (running.toPrefill === 0) begun.push(running);
    };
    // At most one has been left half done by the step before.
    for (const running of this.#running.values()) if (running.toPrefill > 0) prefill(running);
    const admitted: Running<Request>[] = [];
    for (const request of this.#waiting) {
      const running = budget > 0 ? this.#admit(request) : null;
      if (running === null) break;
      admitted.push(running);
      prefill(running);
    }
    // Not before the step's end: requests of one step do not share what none had before it.
    for (const { held, request } of begun) this.#cache.share(held, request.prompt.blocks);
    for (const running of [...begun, ...decoding]) running.madeTokens += 1;
    const ended = [...this.#running.values()].filter(
      ({ madeTokens, request }) => madeTokens >= request.answerTokens,
    );
    for (const running of ended) this.#end(running);
    const prefilledTokens = chunkTokens - budget;
    return {
      durationMs: stepMs + prefilledTokens / prefillTokensPerMs + decoding.length * decodeMs,
      prefilledTokens,
      admitted: admitted.map(({ request, cachedTokens }) => ({ request, cachedTokens })),
      begun: begun.map(({ request }) => request),
      done: ended.map(({ request }) => request),
    };
  }

  #admit(request: Request): Running<Request> | null {
    const { slots, isSharedAtOnce } = this.#options;
    if (this.#running.size >= slots) return null;
    const { prompt, answerTokens } = request;
    const { blocks, tokens } = prompt;
    const more = Math.ceil((tokens + answerTokens) / BLOCK_TOKENS) - blocks.length;
    const held = this.#cache.hold(blocks, more);
    if (held === null) return null;
    const cachedTokens = held.path.length * BLOCK_TOKENS;
    if (isSharedAtOnce) this.#cache.share(held, blocks);
    const running = { request, held, cachedTokens, toPrefill: tokens - cachedTokens, madeTokens: 0 };
    this.#waiting.delete(request);
    this.#running.set(request, running);
    return running;
  }

  #end({ request, held }: Running<Request>): void {
    this.#running.delete(request);
    this.#cache.release(held);
  }
}
