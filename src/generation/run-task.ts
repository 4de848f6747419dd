// One generation from work order to ending: the prompt is built so that it fits the model, the server called. Runs inside a
// worker thread.
//
// 1. What an estimate says does not fit is cut before it is sent; a prompt that cannot fit is sent as it is, for the server to
//    decide.
// 2. A prompt that the server refuses for its length is sent once more with less context. That is part of the same
//    generation: the server has done nothing for the first try.
// 3. The outcome tells what was cut of the prompt sent last, and what its tokens say about the model.

import { hash as digest } from 'node:crypto';
import type { LengthRefusal } from '../domain/failure.ts';
import type { GenerationOutcome, GenerationTask, SentPrompt } from '../domain/generation.ts';
import type { ChatOutcome } from '../model-server/chat-response.ts';
import type { CancelSignal, ModelServerClient } from '../model-server/model-server-client.ts';
import { newRequestId } from '../model-server/taking-back.ts';
import { citationsIn } from './citations.ts';
import { cutPassages, type Prompt, promptWithin, promptWithout, wholePrompt } from './context-cut.ts';
import { isContextTruncated } from './context-truncation.ts';
import type { RequestBody } from './prompt.ts';
import { budgetBytes, measuredRatio, promptBytes, refusedRatio } from './prompt-size.ts';

/** Of a refused prompt, what is sent at most the second time; and where nothing tells how much is too much. */
const SHORTER_SHARE = 0.9;
const HALF = 0.5;

/** A prompt on its way, with the JSON of its body: made once, sent and hashed. */
interface WrittenPrompt extends Prompt {
  readonly bodyJson: string;
}

/** How a task gets to the server. */
interface Way {
  readonly client: ModelServerClient;
  readonly signal: CancelSignal;
  readonly onBegun: (() => void) | undefined;
}

/**
 * Never rejects for what can be expected; aborting the signal ends it as cancelled. `onBegun` is called when an answer to a
 * question begins to come; what is handed on as it is comes all at once.
 */
export async function runTask(
  task: GenerationTask,
  client: ModelServerClient,
  signal: CancelSignal,
  onBegun?: () => void,
): Promise<GenerationOutcome> {
  const startedAtMs = client.clock.monotonicMs();
  const prompt = written(fittingPrompt(task));
  const way = { client, signal, onBegun };
  const outcome = await send(task, prompt, way);
  const shortened = shorterPrompt(task, prompt, outcome);
  if (shortened === null) return concluded(task, prompt, outcome);
  const shorter = written(shortened);
  const leftMs = Math.max(1, task.totalTimeoutMs - (client.clock.monotonicMs() - startedAtMs));
  const again = { ...task, requestId: newRequestId(), totalTimeoutMs: leftMs };
  const second = concluded(task, shorter, await send(again, shorter, way));
  // Where the second try tells nothing of the ratio, the first one does.
  return { ...taught(task, prompt, outcome), ...second, isShortened: true };
}

/** Tells whether a prompt that was built again is the one that was sent. */
export function promptHash(body: RequestBody): string {
  return hashOf(JSON.stringify(body));
}

function hashOf(bodyJson: string): string {
  return digest('sha256', bodyJson, 'hex');
}

function written(prompt: Prompt): WrittenPrompt {
  return { ...prompt, bodyJson: JSON.stringify(prompt.body) };
}

function fittingPrompt(task: GenerationTask): Prompt {
  const { contextTokens, bytesPerToken, maxTokens } = task;
  const whole = wholePrompt(task);
  if (contextTokens === null || !canBeCut(task)) return whole;
  const maxBytes = budgetBytes(whole.body, { contextTokens, bytesPerToken, maxTokens });
  return promptBytes(whole.body) <= maxBytes ? whole : (promptWithin(task, maxBytes) ?? whole);
}

/** A digest is short, and stays whole. */
function canBeCut({ passages, digest: text }: GenerationTask): boolean {
  return passages.length > 0 && text === null;
}

/** What to send when a prompt was refused for its length; null: it was not, or there is nothing to leave out. */
function shorterPrompt(task: GenerationTask, sent: Prompt, outcome: ChatOutcome): Prompt | null {
  if (outcome.kind !== 'failure' || outcome.tooLong === undefined) return null;
  if (!canBeCut(task) || sent.cut?.passages === 0) return null;
  return promptWithin(task, bytesAfterRefusal(task, sent, outcome.tooLong)) ?? promptWithout(task);
}

function bytesAfterRefusal(task: GenerationTask, { body }: Prompt, refusal: LengthRefusal): number {
  const sentBytes = promptBytes(body);
  const contextTokens = refusal.contextTokens ?? task.contextTokens;
  const { promptTokens } = refusal;
  const { maxTokens } = task;
  const bytesPerToken = promptTokens === null ? refusedRatio(body, refusal, task) : sentBytes / promptTokens;
  if (contextTokens === null || bytesPerToken === undefined) return sentBytes * HALF;
  return Math.min(sentBytes * SHORTER_SHARE, budgetBytes(body, { contextTokens, bytesPerToken, maxTokens }));
}

/** A question is streamed, which shows how it goes; what has a shape of its own is handed on. */
function send(
  task: GenerationTask,
  { body, bodyJson }: WrittenPrompt,
  { client, signal, onBegun }: Way,
): Promise<ChatOutcome> {
  const { endpointUrl, apiKey, serverKind, requestId, request, model } = task;
  const { totalTimeoutMs, firstTokenTimeoutMs, stallTimeoutMs } = task;
  const call = { endpointUrl, apiKey, serverKind, requestId, body, bodyJson, totalTimeoutMs };
  if (request.shape === 'openai') return client.forward({ ...call, url: request.url, model }, signal);
  return client.chatCompletion({ ...call, firstTokenTimeoutMs, stallTimeoutMs }, signal, onBegun);
}

function concluded(task: GenerationTask, prompt: WrittenPrompt, outcome: ChatOutcome): GenerationOutcome {
  const { body, bodyJson, cut } = prompt;
  const sent: SentPrompt = { promptHash: hashOf(bodyJson), ...(cut === null ? {} : { contextCut: cut }) };
  if (outcome.kind === 'failure') return { ...outcome, ...sent, ...taught(task, prompt, outcome) };
  const { serverKind, contextTokens } = task;
  const { messages = [] } = body;
  const { promptTokens } = outcome.usage;
  const isCutByServer = isContextTruncated({ serverKind, contextTokens, messages, promptTokens });
  return {
    ...outcome,
    ...sent,
    ...(isCutByServer ? {} : taught(task, prompt, outcome)),
    isContextTruncated: isCutByServer,
    citations: citationsIn(outcome.answer, cutPassages(task.passages, cut)),
  };
}

function taught(
  task: GenerationTask,
  { body }: Prompt,
  outcome: ChatOutcome,
): Pick<SentPrompt, 'bytesPerToken'> {
  const bytesPerToken =
    outcome.kind === 'success'
      ? measuredRatio(body, outcome.usage.promptTokens, task)
      : outcome.tooLong && refusedRatio(body, outcome.tooLong, task);
  return bytesPerToken === undefined ? {} : { bytesPerToken };
}
