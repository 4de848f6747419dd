// Values of the domain that many tests need.

import type { NewChunk } from '../../src/domain/chunk.ts';
import type { BatchOptions } from '../../src/domain/options.ts';
import type { NewRecord, RecordStatus } from '../../src/domain/record.ts';

export const options: BatchOptions = {
  ragMode: 'retrieve',
  topK: 5,
  maxDistance: null,
  onNoContext: 'answer',
  model: null,
  maxTokens: 1024,
  temperature: 0,
  systemPrompt: null,
  onInvalid: 'fail_line',
};

/** A chunk of the lines `firstLine … firstLine + lineCount - 1`. */
export function chunk(number: number, firstLine: number, lineCount: number): NewChunk {
  const lines = Array.from({ length: lineCount }, (_, index) =>
    JSON.stringify({ custom_id: `q${firstLine + index}`, query: `question ${firstLine + index}` }),
  );
  return { number, firstLine, lineCount, blankLines: [], text: Buffer.from(lines.join('\n')), problems: [] };
}

export function record(line: number, status: RecordStatus = 'succeeded'): NewRecord {
  return {
    line,
    status,
    rag: status === 'cancelled' ? null : 'success',
    collectionGeneration: status === 'cancelled' ? null : 1,
    code: status === 'succeeded' ? null : 'generation_failed',
    promptTokens: 10,
    completionTokens: 2,
    cachedTokens: 1,
    body: JSON.stringify({ line, custom_id: `q${line}`, status }),
  };
}
