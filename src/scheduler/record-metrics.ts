// What the metrics count of records that are stored.

import type { NewRecord } from '../domain/record.ts';
import type { Metrics } from '../metrics.ts';

export function countRecords(metrics: Metrics, records: readonly NewRecord[]): void {
  let [prompt, completion, cached] = [0, 0, 0];
  for (const { status, code, rag, promptTokens, completionTokens, cachedTokens } of records) {
    metrics.lines.inc({ outcome: status, code: code ?? 'none' });
    if (rag !== null) metrics.ragOutcomes.inc({ outcome: rag });
    prompt += promptTokens;
    completion += completionTokens;
    cached += cachedTokens;
  }
  metrics.tokens.inc({ direction: 'prompt' }, prompt);
  metrics.tokens.inc({ direction: 'completion' }, completion);
  metrics.cachedTokens.inc(cached);
}
