// A work order as generation tests need one: everything set, with all the time in the world.

import type { GenerationTask } from '../../src/domain/generation.ts';
import type { ChatMessage } from '../../src/domain/line.ts';
import { buildRequestBody, type PromptTask } from '../../src/generation/prompt.ts';

const LONG_MS = 120_000;
let lastId = 0;

export function generationTask(endpointUrl: string, changes: Partial<GenerationTask> = {}): GenerationTask {
  lastId += 1;
  return {
    id: lastId,
    endpointUrl,
    serverKind: 'generic',
    requestId: `request-${lastId}`,
    contextTokens: null,
    bytesPerToken: 4,
    apiKey: null,
    model: 'fake-model',
    request: { shape: 'native', query: 'What?' },
    systemPrompt: 'Be brief.',
    template: null,
    maxTokens: 64,
    temperature: 0,
    passages: [],
    passageOrder: null,
    digest: null,
    totalTimeoutMs: LONG_MS,
    firstTokenTimeoutMs: LONG_MS,
    stallTimeoutMs: LONG_MS,
    ...changes,
  };
}

/** The messages of a chat completion as it is sent. */
export function sentMessages(task: PromptTask): readonly ChatMessage[] {
  const { messages } = buildRequestBody(task);
  if (messages === undefined) throw new Error('no chat completion');
  return messages;
}
