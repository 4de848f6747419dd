// Values of the domain that many tests need.

import type { NewChunk } from '../../src/domain/chunk.ts';
import type { BatchOptions } from '../../src/domain/options.ts';
import type { NewRecord, RecordStatus } from '../../src/domain/record.ts';

export const options: BatchOptions = {
  ragMode: 'retrieve',
  topK: 5,
  maxDistance: null,
  where: null,
  onNoContext: 'answer',
  model: null,
  maxTokens: 1024,
  temperature: 0,
  systemPrompt: null,
  template: null,
  contextOrder: 'preserve',
  priority: 'normal',
  onInvalid: 'fail_line',
  pauseAfter: null,
  maxFailures: null,
  completionWindow: null,
};

/** A chunk of the lines `firstLine … firstLine + lineCount - 1`. */
export function chunk(number: number, firstLine: number, lineCount: number): NewChunk {
  const lines = Array.from({ length: lineCount }, (_, index) =>
    JSON.stringify({ custom_id: `q${firstLine + index}`, query: `question ${firstLine + index}` }),
  );
  return { number, firstLine, lineCount, blankLines: [], text: Buffer.from(lines.join('\n')), problems: [] };
}

export function record(line: number, status: RecordStatus = 'succeeded'): NewRecord {
  const isUnrun = status === 'cancelled' || status === 'expired';
  return {
    line,
    status,
    rag: isUnrun ? null : 'success',
    collectionGeneration: isUnrun ? null : 1,
    code: status === 'succeeded' ? null : 'generation_failed',
    stage: status === 'failed' ? 'generation' : null,
    endpoint: status === 'succeeded' ? 'gpu-0' : null,
    details: null,
    promptTokens: 10,
    completionTokens: 2,
    cachedTokens: 1,
    reasoningTokens: 0,
    response: null,
    fileBytes: 100 + line,
    body: JSON.stringify({ line, custom_id: `q${line}`, status }),
  };
}
