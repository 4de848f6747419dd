// One generation from work order to ending: the prompt is built, the server called. Runs inside a worker thread.

import type { GenerationOutcome, GenerationTask } from '../domain/generation.ts';
import type { ModelServerClient } from '../model-server/model-server-client.ts';
import { buildChatBody } from './prompt.ts';

/** Never rejects for what can be expected; aborting the signal ends it as cancelled. */
export function runTask(
  task: GenerationTask,
  client: ModelServerClient,
  signal: AbortSignal,
): Promise<GenerationOutcome> {
  const { endpointUrl, apiKey, totalTimeoutMs, firstTokenTimeoutMs, stallTimeoutMs } = task;
  const body = buildChatBody(task);
  return client.chatCompletion(
    { endpointUrl, apiKey, body, totalTimeoutMs, firstTokenTimeoutMs, stallTimeoutMs },
    signal,
  );
}
