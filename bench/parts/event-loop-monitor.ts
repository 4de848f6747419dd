// Loaded into a process before its program (node --import): measures how late the main thread's event loop is. At each
// SIGURG (which does nothing to a process without the monitor) it writes the figures since the one before to the file that EVENT_LOOP_FIGURES names, and begins anew.

import { renameSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';
import type { EventLoopFigures } from './event-loop-figures.ts';

/** The period of the timer whose delays are measured; it is part of every figure, in the idle process too. */
const RESOLUTION_MS = 10;

const path = process.env.EVENT_LOOP_FIGURES;
if (isMainThread && path !== undefined) {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  const inMs = (nanoseconds: number) => nanoseconds / 1e6;
  delays.enable();
  process.on('SIGURG', () => {
    const figures: EventLoopFigures = {
      samples: delays.count,
      p50Ms: inMs(delays.percentile(50)),
      p99Ms: inMs(delays.percentile(99)),
      maxMs: inMs(delays.max),
    };
    delays.reset();
    writeFileSync(`${path}.part`, JSON.stringify(figures));
    renameSync(`${path}.part`, path);
  });
}
