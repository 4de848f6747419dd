// Loaded into a process before its program (node --import): measures how late the main thread's event loop is, and how
// much it does in one go. At each SIGURG (which does nothing to a process without the monitor) it writes the figures since
// the one before to the file that EVENT_LOOP_FIGURES names, and begins anew.

import { renameSync, writeFileSync } from 'node:fs';
import { createHistogram, monitorEventLoopDelay, type RecordableHistogram } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';
import type { EventLoopFigures, Quantiles } from './event-loop-figures.ts';

/** The period of the timer whose delays are measured; it is part of every figure, in the idle process too. */
const RESOLUTION_MS = 10;

const path = process.env.EVENT_LOOP_FIGURES;
if (isMainThread && path !== undefined) {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  const work = monitorWork();
  process.on('SIGURG', () => {
    const figures: EventLoopFigures = { delay: inMs(delays, 1e6), work: inMs(work, 1e3) };
    delays.reset();
    work.reset();
    writeFileSync(`${path}.part`, JSON.stringify(figures));
    renameSync(`${path}.part`, path);
  });
}

/** Microseconds of processor time between ticks. */
function monitorWork(): RecordableHistogram {
  const work = createHistogram();
  let before = process.threadCpuUsage();
  const tick = () => {
    const { user, system } = process.threadCpuUsage(before);
    before = process.threadCpuUsage();
    work.record(Math.max(1, user + system));
  };
  setInterval(tick, RESOLUTION_MS).unref();
  return work;
}

function inMs(histogram: Pick<RecordableHistogram, 'percentile' | 'max'>, unit: number): Quantiles {
  const { max } = histogram;
  return {
    p50: histogram.percentile(50) / unit,
    p99: histogram.percentile(99) / unit,
    max: max / unit,
  };
}
