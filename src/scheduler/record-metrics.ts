// What the metrics count of records that are stored.

import type { NewRecord } from '../domain/record.ts';
import type { Metrics } from '../metrics.ts';

export function countRecords(metrics: Metrics, records: readonly NewRecord[]): void {
  for (const record of records) countRecord(metrics, record);
}

function countRecord(metrics: Metrics, record: NewRecord): void {
  metrics.lines.inc({ outcome: record.status, code: record.code ?? 'none' });
  if (record.rag !== null) metrics.ragOutcomes.inc({ outcome: record.rag });
  metrics.tokens.inc({ direction: 'prompt' }, record.promptTokens);
  metrics.tokens.inc({ direction: 'completion' }, record.completionTokens);
  metrics.cachedTokens.inc(record.cachedTokens);
}
