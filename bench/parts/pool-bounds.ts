// What a pool could do at best, worked out from what its servers could do at which time.

import type { SeenResult } from './followed-batch.ts';

/** From `fromMs` on, until the next one: the answers that all servers together can make in a millisecond. */
export interface Capacity {
  readonly fromMs: number;
  readonly answersPerMs: number;
}

/** When so many answers are made at the earliest. The capacities follow each other in time; the last one stays. */
export function earliestEndMs(capacities: readonly Capacity[], answers: number): number {
  let left = answers;
  for (const [index, { fromMs, answersPerMs }] of capacities.entries()) {
    const endMs = fromMs + left / answersPerMs;
    const nextMs = capacities[index + 1]?.fromMs ?? Number.POSITIVE_INFINITY;
    if (endMs <= nextMs) return endMs;
    left -= (nextMs - fromMs) * answersPerMs;
  }
  throw new Error('there is no capacity');
}

const WINDOW_MS = 2_000;
const STEP_MS = 100;
/** Of its fair share. */
const NEARLY = 0.9;

/**
 * Milliseconds after its return at which an endpoint has made nearly its fair share of the results of the last two
 * seconds; null: that never came.
 */
export function backAfterMs(
  results: readonly SeenResult[],
  { endpoint, returnedAtMs, servers }: { endpoint: string; returnedAtMs: number; servers: number },
): number | null {
  const lastMs = results.at(-1)?.atMs ?? 0;
  for (let endMs = returnedAtMs + WINDOW_MS; endMs <= lastMs; endMs += STEP_MS) {
    const within = results.filter(({ atMs }) => atMs > endMs - WINDOW_MS && atMs <= endMs);
    const own = within.filter((result) => result.endpoint === endpoint);
    if (own.length >= (NEARLY * within.length) / servers && own.length > 0) return endMs - returnedAtMs;
  }
  return null;
}
