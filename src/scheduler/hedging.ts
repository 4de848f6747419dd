// Which lines are worth a second call at the end of the work: those that run where it takes long, if an idle endpoint takes
// less. The first answer counts.
// Source: J. Dean and L. A. Barroso, "The Tail at Scale", Communications of the ACM 56(2), 2013 (hedged requests).

import type { Endpoint } from '../gpu-pool/endpoint.ts';
import type { Call } from './calls.ts';

/** An answer that takes this many times the usual is no usual one: it may take as long again. */
const UNUSUAL = 1.5;
/** What has to be gained, as a share of the time that the second call takes. */
const MARGIN = 1.2;

/** Whether the idle endpoint is expected to answer before the one that has been at it so far. */
export function isWorthHedging(call: Call, idle: Endpoint, nowMs: number): boolean {
  const usualMs = call.endpoint.figures.meanDurationMsOf(call.stage);
  const thereMs = idle.figures.meanDurationMsOf(call.stage);
  if (call.sentAtMs === null || thereMs === null) return false;
  const ageMs = nowMs - call.sentAtMs;
  return remainingMs(ageMs, usualMs ?? thereMs) > thereMs * MARGIN;
}

/** Answers that are late tend to be later the later they are. */
function remainingMs(ageMs: number, usualMs: number): number {
  return ageMs < usualMs * UNUSUAL ? Math.max(0, usualMs - ageMs) : ageMs;
}
