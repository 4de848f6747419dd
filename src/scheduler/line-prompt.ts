// What a line asks of a model server: for a digest of its passages, or for the answer. From this a prompt is built, when it
// is sent, and again when somebody wants to see it.

import type { LineRequest } from '../domain/line.ts';
import type { Passage } from '../domain/passage.ts';
import { DIGEST_SYSTEM_PROMPT } from '../generation/digest-prompt.ts';
import { answerLimit, type PromptTask } from '../generation/prompt.ts';
import type { ParsedLine } from './line-parser.ts';

/** What of a task depends on the line. */
export type LinePrompt = Omit<PromptTask, 'model'>;

/** `text`: null where the digest could not be used, and the question goes alone. */
export interface PromptSource {
  readonly parsed: ParsedLine;
  readonly passages: readonly Passage[];
  /** For each place in the prompt the 0-based rank of the passage there; null: in ranking order. */
  readonly passageOrder: readonly number[] | null;
  /** null: none was asked for, and the passages stand in the prompt. */
  readonly digest: { readonly text: string | null } | null;
}

export function answerPrompt(
  { parsed, passages, passageOrder, digest }: PromptSource,
  defaultSystemPrompt: string,
): LinePrompt {
  const { request, options } = parsed;
  return {
    request,
    systemPrompt: options.systemPrompt ?? defaultSystemPrompt,
    template: options.template,
    maxTokens: options.maxTokens,
    temperature: options.temperature,
    // With a digest the passages do not stand in the prompt; the answer may cite them all the same.
    passages: digest?.text === null ? [] : passages,
    passageOrder,
    digest: digest?.text ?? null,
  };
}

/** The system prompt, templates and sampling of the line are meant for its answer, not for the digest. */
export function digestPrompt(
  { parsed, passages, passageOrder }: Omit<PromptSource, 'digest'>,
  maxTokens: number,
): LinePrompt {
  return {
    request: { shape: 'native', query: parsed.request.query },
    systemPrompt: DIGEST_SYSTEM_PROMPT,
    template: null,
    maxTokens,
    temperature: 0,
    passages,
    passageOrder,
    digest: null,
  };
}

/** How much a line asks for by itself, without what the batch or retrieval adds: UTF-8 bytes. */
export function askedBytes(request: LineRequest): number {
  if (request.shape === 'native') return Buffer.byteLength(request.query);
  const { messages, prompt, input } = request.body;
  return Buffer.byteLength(JSON.stringify(messages ?? prompt ?? input ?? null));
}

/** What all of a prompt has in bytes, about. A body of its own gets no system prompt and no template. */
export function bytesOf({ request, systemPrompt, template, passages, digest }: LinePrompt): number {
  const around = request.shape === 'openai' ? [] : [systemPrompt, template ?? ''];
  const context = digest === null ? passages.map(({ text }) => text) : [digest];
  return [...around, ...context].reduce((sum, text) => sum + Buffer.byteLength(text), askedBytes(request));
}

/** The most tokens that the answer may have; null: the line sets no limit. Vectors have none. */
export function mostAnswerTokens({
  request,
  maxTokens,
}: Pick<LinePrompt, 'request' | 'maxTokens'>): number | null {
  if (request.shape === 'native') return maxTokens;
  return request.url === '/v1/embeddings' ? 0 : answerLimit(request.body);
}
