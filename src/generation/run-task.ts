// One generation from work order to ending: the prompt is built, the server called. Runs inside a worker thread.

import { hash } from 'node:crypto';
import type { GenerationOutcome, GenerationTask } from '../domain/generation.ts';
import type { ModelServerClient } from '../model-server/model-server-client.ts';
import { buildChatBody, type ChatCompletionBody } from './prompt.ts';

/** Never rejects for what can be expected; aborting the signal ends it as cancelled. */
export async function runTask(
  task: GenerationTask,
  client: ModelServerClient,
  signal: AbortSignal,
): Promise<GenerationOutcome> {
  const { endpointUrl, apiKey, serverKind, requestId } = task;
  const { totalTimeoutMs, firstTokenTimeoutMs, stallTimeoutMs } = task;
  const body = buildChatBody(task);
  const outcome = await client.chatCompletion(
    { endpointUrl, apiKey, serverKind, requestId, body, totalTimeoutMs, firstTokenTimeoutMs, stallTimeoutMs },
    signal,
  );
  return { ...outcome, promptHash: promptHash(body) };
}

/** Tells whether a prompt that was built again is the one that was sent. */
export function promptHash(body: ChatCompletionBody): string {
  return hash('sha256', JSON.stringify(body), 'hex');
}
