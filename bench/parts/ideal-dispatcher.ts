// The best that answers of known lengths allow: bounds on the makespan that no dispatcher beats, and what an ideal one makes
// of them that knows no length before its end and loses no time between two lines.

/** No makespan is shorter: neither than the work shared equally among all slots, nor than the longest line. */
export function lowerBoundMs(lengthsMs: readonly number[], slots: number): number {
  const work = lengthsMs.reduce((sum, length) => sum + length, 0);
  return Math.max(work / slots, Math.max(...lengthsMs));
}

/**
 * The makespan of list scheduling: each slot that becomes free takes the next line, in the order of arrival.
 * Source: R. L. Graham, "Bounds for Certain Multiprocessing Anomalies", Bell System Technical Journal 45(9), 1966.
 */
export function listScheduleMs(lengthsMs: readonly number[], slots: number): number {
  // Ends of the slots as a binary heap, the earliest on top; the slots are few and all begin at 0.
  const ends = new Float64Array(slots);
  let makespanMs = 0;
  for (const length of lengthsMs) {
    const endMs = (ends[0] ?? 0) + length;
    makespanMs = Math.max(makespanMs, endMs);
    sinkTop(ends, endMs);
  }
  return makespanMs;
}

/** Replaces the top, and restores the heap. */
function sinkTop(heap: Float64Array, value: number): void {
  const at = (index: number) => heap[index] ?? Number.POSITIVE_INFINITY;
  let place = 0;
  for (;;) {
    const left = 2 * place + 1;
    const child = at(left) <= at(left + 1) ? left : left + 1;
    if (at(child) >= value) break;
    heap[place] = at(child);
    place = child;
  }
  heap[place] = value;
}
