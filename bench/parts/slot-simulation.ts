// What simulated GPUs make of lines that are dealt to them beforehand, with no service in between and in no time: the same
// GPUs as in the servers, fed from lists.

import { Gpu, type GpuOptions, type GpuRequest } from './slot-gpu.ts';

export interface SimulatedRun {
  readonly prefilledTokens: number;
  readonly cachedTokens: number;
  /** Of the GPU that ends last. */
  readonly makespanMs: number;
  /** By GPU. */
  readonly busyMs: readonly number[];
}

/** Each GPU serves its own list in that order, so many requests at a time. */
export function simulateRuns(
  options: GpuOptions,
  window: number,
  runs: readonly (readonly GpuRequest[])[],
): SimulatedRun {
  const served = runs.map((requests) => serve(options, window, requests));
  return {
    prefilledTokens: served.reduce((sum, { prefilledTokens }) => sum + prefilledTokens, 0),
    cachedTokens: served.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0),
    makespanMs: Math.max(...served.map(({ busyMs }) => busyMs)),
    busyMs: served.map(({ busyMs }) => busyMs),
  };
}

/** Never idle before its end: its list is there from the beginning on. */
function serve(options: GpuOptions, window: number, requests: readonly GpuRequest[]) {
  const gpu = new Gpu<GpuRequest>(options);
  const total = { prefilledTokens: 0, cachedTokens: 0, busyMs: 0 };
  let sent = 0;
  let inFlight = 0;
  for (;;) {
    for (; inFlight < window && sent < requests.length; inFlight += 1, sent += 1) {
      const request = requests[sent];
      if (request) gpu.add({ ...request });
    }
    const step = gpu.step();
    if (step === null) return total;
    inFlight -= step.done.length;
    total.busyMs += step.durationMs;
    total.prefilledTokens += step.prefilledTokens;
    for (const { cachedTokens } of step.admitted) total.cachedTokens += cachedTokens;
  }
}
