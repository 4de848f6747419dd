// Asks the monitor inside a process for its figures.

import { existsSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export interface EventLoopFigures {
  /** Delay of the timer's ticks, its period included. */
  readonly delay: Quantiles;
  /** Processor time that the thread used from one tick to the next: what it did, however busy the machine was. */
  readonly work: Quantiles;
}

/** Milliseconds. */
export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Node's arguments that put the monitor into a process; its environment names the file as EVENT_LOOP_FIGURES. */
export const MONITOR_ARGUMENTS = ['--import', new URL('./event-loop-monitor.ts', import.meta.url).href];

/** The figures since the last call. */
export async function eventLoopFigures(pid: number, path: string): Promise<EventLoopFigures> {
  rmSync(path, { force: true });
  process.kill(pid, 'SIGURG');
  while (!existsSync(path)) await sleep(5);
  return JSON.parse(readFileSync(path, 'utf8')) as EventLoopFigures;
}
