// What the metrics count of records that are stored.

import type { NewRecord } from '../domain/record.ts';
import type { Metrics } from '../metrics.ts';

export function countRecords(metrics: Metrics, records: readonly NewRecord[]): void {
  let [prompt, completion, cached] = [0, 0, 0];
  const ended = new Map<string, { outcome: string; code: string; lines: number }>();
  for (const { status, code, rag, promptTokens, completionTokens, cachedTokens } of records) {
    const label = `${status} ${code}`;
    const known = ended.get(label);
    if (known) known.lines += 1;
    else ended.set(label, { outcome: status, code: code ?? 'none', lines: 1 });
    if (rag !== null) metrics.ragOutcomes.inc({ outcome: rag });
    prompt += promptTokens;
    completion += completionTokens;
    cached += cachedTokens;
  }
  for (const { outcome, code, lines } of ended.values()) metrics.lines.inc({ outcome, code }, lines);
  metrics.tokens.inc({ direction: 'prompt' }, prompt);
  metrics.tokens.inc({ direction: 'completion' }, completion);
  metrics.cachedTokens.inc(cached);
}
