// How large a prompt is: in bytes, which are counted, and in tokens, which are estimated.

import type { LengthRefusal } from '../domain/failure.ts';
import type { GenerationTask } from '../domain/generation.ts';
import type { ChatMessage } from '../domain/line.ts';
import { leastTokens } from './context-truncation.ts';
import { answerLimit, type RequestBody } from './prompt.ts';

/** What chat templates add to a prompt, and to each message. */
const PROMPT_TOKENS = 32;
const MESSAGE_TOKENS = 8;
/** Of what an estimate allows, the part that is used: prompts differ. */
const USED_SHARE = 0.95;
/** Where an answer may be as long as the whole context, this part of it is kept for it. */
const ANSWER_SHARE = 0.5;
/** A refusal without a count of tokens says only that there were too many: so much fewer bytes a token is taken for true. */
const REFUSED_SHARE = 0.85;
/** In shorter prompts what templates add weighs too much to learn from. */
const TELLING_BYTES_MIN = 1_000;
/** So many bytes to the token are normal in some languages; in others the server has left out what it had cached. */
const BYTES_PER_TOKEN_USUAL = 4.5;
/** Times what is believed: from here on a ratio is so new that it is always looked into. */
const NEW_RATIO = 1.25;
/** Of the other ratios that are not usual, one in so many: to count the words of a prompt costs more than to build it. */
const LOOKED_INTO_EVERY = 16;

/** UTF-8 bytes of the texts in it, and of its tools. */
export function promptBytes(body: RequestBody): number {
  const { tools } = body;
  const toolBytes = tools === undefined ? 0 : Buffer.byteLength(JSON.stringify(tools) ?? '');
  return textsOfBody(body).reduce((sum, text) => sum + Buffer.byteLength(text), toolBytes);
}

export function estimatedTokens(bytes: number, bytesPerToken: number, messages: number): number {
  return Math.ceil(bytes / bytesPerToken) + PROMPT_TOKENS + messages * MESSAGE_TOKENS;
}

/** `maxTokens`: what is kept for the answer where the body sets no limit. */
interface Room {
  readonly contextTokens: number;
  readonly bytesPerToken: number;
  readonly maxTokens: number;
}

/** Bytes that a prompt may have; at most 0 where the answer leaves none. */
export function budgetBytes(body: RequestBody, { contextTokens, bytesPerToken, maxTokens }: Room): number {
  const limit = answerLimit(body) ?? maxTokens;
  const answer = limit < contextTokens ? limit : contextTokens * ANSWER_SHARE;
  const room = contextTokens - answer - estimatedTokens(0, bytesPerToken, body.messages?.length ?? 1);
  return Math.floor(room * bytesPerToken * USED_SHARE);
}

/** Bytes a token of a prompt of which the server has counted the tokens; undefined: the count tells nothing. */
export function measuredRatio(
  body: RequestBody,
  promptTokens: number | null,
  { id, bytesPerToken }: Pick<GenerationTask, 'id' | 'bytesPerToken'>,
): number | undefined {
  const bytes = promptBytes(body);
  if (promptTokens === null || promptTokens < 1 || bytes < TELLING_BYTES_MIN || !isText(body))
    return undefined;
  const ratio = bytes / promptTokens;
  if (ratio <= BYTES_PER_TOKEN_USUAL) return ratio;
  if (ratio < bytesPerToken * NEW_RATIO && id % LOOKED_INTO_EVERY !== 0) return undefined;
  return leastTokens(textsOfBody(body)) <= promptTokens ? ratio : undefined;
}

/** The same of a prompt that was refused for its length. */
export function refusedRatio(
  body: RequestBody,
  { promptTokens }: LengthRefusal,
  task: Pick<GenerationTask, 'id' | 'contextTokens' | 'bytesPerToken' | 'maxTokens'>,
): number | undefined {
  if (promptTokens !== null) return measuredRatio(body, promptTokens, task);
  const { contextTokens, bytesPerToken, maxTokens } = task;
  if (contextTokens === null || !isText(body)) return undefined;
  // One that was sent although it did not seem to fit says nothing new.
  return promptBytes(body) <= budgetBytes(body, { contextTokens, bytesPerToken, maxTokens })
    ? bytesPerToken * REFUSED_SHARE
    : undefined;
}

/** Images and tools have tokens, but no bytes that could be compared with them. */
function isText({ messages, prompt, input, tools, functions }: RequestBody): boolean {
  if (tools !== undefined || functions !== undefined) return false;
  if (messages === undefined) return [prompt ?? input].flat().every((text) => typeof text === 'string');
  return messages.every(
    ({ content }) => typeof content === 'string' || (Array.isArray(content) && content.every(isTextPart)),
  );
}

/** Of its messages, or of what a completion goes on from or vectors are asked for. */
function textsOfBody({ messages, prompt, input }: RequestBody): string[] {
  if (messages !== undefined) return messages.flatMap(textsOf);
  return [prompt ?? input].flat().filter((text) => typeof text === 'string');
}

function textsOf({ content }: ChatMessage): string[] {
  if (typeof content === 'string') return [content];
  return Array.isArray(content) ? content.flatMap((part) => (isTextPart(part) ? [part.text] : [])) : [];
}

function isTextPart(part: unknown): part is { readonly text: string } {
  return typeof part === 'object' && part !== null && 'text' in part && typeof part.text === 'string';
}
