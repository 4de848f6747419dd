// One generation from work order to ending: the prompt is built, the server called. Runs inside a worker thread.

import { hash as digest } from 'node:crypto';
import type { GenerationOutcome, GenerationTask } from '../domain/generation.ts';
import type { ModelServerClient } from '../model-server/model-server-client.ts';
import { isContextTruncated } from './context-truncation.ts';
import { buildChatBody, type ChatCompletionBody } from './prompt.ts';

/** Never rejects for what can be expected; aborting the signal ends it as cancelled. */
export async function runTask(
  task: GenerationTask,
  client: ModelServerClient,
  signal: AbortSignal,
): Promise<GenerationOutcome> {
  const { endpointUrl, apiKey, serverKind, requestId, contextTokens } = task;
  const { totalTimeoutMs, firstTokenTimeoutMs, stallTimeoutMs } = task;
  const body = buildChatBody(task);
  const outcome = await client.chatCompletion(
    { endpointUrl, apiKey, serverKind, requestId, body, totalTimeoutMs, firstTokenTimeoutMs, stallTimeoutMs },
    signal,
  );
  const hash = promptHash(body);
  if (outcome.kind === 'failure') return { ...outcome, promptHash: hash };
  const { messages } = body;
  const { promptTokens } = outcome.usage;
  return {
    ...outcome,
    isContextTruncated: isContextTruncated({ serverKind, contextTokens, messages, promptTokens }),
    promptHash: hash,
  };
}

/** Tells whether a prompt that was built again is the one that was sent. */
export function promptHash(body: ChatCompletionBody): string {
  return digest('sha256', JSON.stringify(body), 'hex');
}
