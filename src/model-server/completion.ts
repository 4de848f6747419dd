// A chat completion while it arrives: pieces of a stream and whole documents end up in the same place. Only the
// choice with index 0 is the answer; what a server reports as reasoning is not read at all.

import type { TokenUsage } from '../domain/generation.ts';
import { errorInPayload, isRecord, type ServerWords } from './server-words.ts';

export const UNKNOWN_USAGE: TokenUsage = {
  promptTokens: null,
  completionTokens: null,
  cachedTokens: null,
  reasoningTokens: null,
};

export class Completion {
  content = '';
  finishReason: string | null = null;
  /** The name the server gives its model; null when it gives none. */
  model: string | null = null;
  usage: TokenUsage = UNKNOWN_USAGE;
  hasChoice = false;
  hasToolCall = false;
  /** The error that came in the place of an answer, or in the middle of it. */
  error: ServerWords | null = null;

  /** Takes in one chunk of a stream, or a whole completion. */
  absorb(payload: unknown): void {
    this.error ??= errorInPayload(payload);
    if (!isRecord(payload)) return;
    if (typeof payload.model === 'string' && payload.model !== '') this.model = payload.model;
    if (isRecord(payload.usage)) this.usage = parseUsage(payload.usage);
    if (!Array.isArray(payload.choices)) return;
    for (const choice of payload.choices) this.#absorbChoice(choice);
  }

  #absorbChoice(choice: unknown): void {
    if (!isRecord(choice) || (choice.index ?? 0) !== 0) return;
    this.hasChoice = true;
    const message = choice.delta ?? choice.message;
    if (isRecord(message)) {
      this.content += textOf(message.content);
      this.hasToolCall ||= Array.isArray(message.tool_calls) && message.tool_calls.length > 0;
    }
    const { finish_reason: finishReason } = choice;
    // Some servers send an empty one with every piece.
    if (typeof finishReason === 'string' && finishReason !== '') this.finishReason = finishReason;
    else if (isRecord(finishReason)) this.#absorbFinish(finishReason);
  }

  /** SGLang's own form of a finish reason: a status says why it gave the request up. */
  #absorbFinish({ type, message, status_code: code, err_type }: Readonly<Record<string, unknown>>): void {
    if (typeof type === 'string') this.finishReason = type;
    if (typeof code === 'number') this.error ??= errorInPayload({ error: { message, code, type: err_type } });
  }
}

/** Content is a string, or a list of parts of which only the texts are the answer. */
function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content.map((part) => (isRecord(part) && typeof part.text === 'string' ? part.text : '')).join('');
}

export function parseUsage(usage: Readonly<Record<string, unknown>>): TokenUsage {
  const { prompt_tokens_details: details, completion_tokens_details: completionDetails } = usage;
  return {
    promptTokens: tokenCount(usage.prompt_tokens),
    completionTokens: tokenCount(usage.completion_tokens),
    cachedTokens: isRecord(details) ? tokenCount(details.cached_tokens) : null,
    // SGLang counts them beside the others.
    reasoningTokens: tokenCount(
      isRecord(completionDetails) ? completionDetails.reasoning_tokens : usage.reasoning_tokens,
    ),
  };
}

/** Beyond any context of any model; the sum over a batch of millions of lines is still exact. */
const TOKENS_MAX = 1e9;

/** A count that makes no sense is an unknown one: it does not make the answer worthless. */
function tokenCount(value: unknown): number | null {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= TOKENS_MAX
    ? value
    : null;
}
