// Lines in hand, as the stages pass them on, and how generations end.

import type { GenerationSuccess } from '../../src/domain/generation.ts';
import { beginWork, type LeasedChunk, type Work } from '../../src/scheduler/work.ts';
import { options } from './batch-fixtures.ts';

let lastToken = 0;

export function leasedChunk(batchId = 'b1', openLines = 1): LeasedChunk {
  lastToken += 1;
  return {
    lease: { batchId, chunk: 0, token: lastToken },
    contextOrder: 'preserve',
    priority: 'normal',
    controller: new AbortController(),
    retrieving: new AbortController(),
    bytes: 100,
    openLines,
    digestLines: 0,
    isPartial: false,
    isLimited: false,
    isPausing: false,
    parked: [],
  };
}

export function work(
  line: number,
  { chunk = leasedChunk(), model = null }: { chunk?: LeasedChunk; model?: string | null } = {},
): Work {
  return beginWork(chunk, line, {
    customId: `q${line}`,
    request: { shape: 'native', query: `question ${line}` },
    metadata: null,
    options: { ...options, model },
    own: {},
  });
}

export const success: GenerationSuccess = {
  kind: 'success',
  answer: 'forty-two',
  model: 'fake-model',
  finishReason: 'stop',
  usage: { promptTokens: 12, completionTokens: 3, cachedTokens: null, reasoningTokens: null },
  response: null,
  isContextTruncated: false,
  citations: { known: [], unknown: [] },
};
