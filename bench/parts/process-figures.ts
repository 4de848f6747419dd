// What the kernel knows about a process: its memory and its processor time. Linux only.

import { readFileSync, writeFileSync } from 'node:fs';

/** USER_HZ, which is 100 on every platform that Node runs on. */
const TICK_MS = 10;

/** Processor time of all threads of the process, in milliseconds; children are not in it. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in the second field may hold spaces and brackets; fields are counted behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** Megabytes (10^6) resident now. */
export function residentMb(pid: number): number {
  return statusMb(pid, 'VmRSS');
}

/** The most megabytes resident since the start, or since `resetPeak`. */
export function peakResidentMb(pid: number): number {
  return statusMb(pid, 'VmHWM');
}

export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

function statusMb(pid: number, field: string): number {
  const found = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return (Number(found?.[1]) * 1024) / 1e6;
}
