// Processor time of a Node process by kind of thread. Linux only. A thread that has ended is not in it.

import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ, which is 100 on every platform that Node runs on. */
const TICK_MS = 10;

/** By the names that Node gives its threads. */
const KINDS: Readonly<Record<string, string>> = {
  MainThread: 'main thread',
  WorkerThread: 'worker threads (generation, store)',
  V8Worker: 'collecting garbage and compiling beside them',
  'libuv-worker': 'thread pool (compression, files)',
};
const OTHERS = 'other threads';

/** Milliseconds since each thread's start, summed by kind. */
export function cpuMsByThread(pid: number): Map<string, number> {
  const found = new Map([...Object.values(KINDS), OTHERS].map((kind) => [kind, 0]));
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
    const nameEnd = stat.lastIndexOf(')');
    const kind = KINDS[stat.slice(stat.indexOf('(') + 1, nameEnd)] ?? OTHERS;
    const fields = stat.slice(nameEnd + 2).split(' ');
    found.set(kind, (found.get(kind) ?? 0) + (Number(fields[11]) + Number(fields[12])) * TICK_MS);
  }
  return found;
}
