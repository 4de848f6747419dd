// Processor time of a Node process by thread. Linux only. A thread that has ended is not in it.

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

interface ThreadTime {
  readonly name: string;
  readonly ms: number;
}

/** Milliseconds since each thread's start, summed by kind. */
export function cpuMsByKind(pid: number): Map<string, number> {
  const found = new Map([...Object.values(KINDS), OTHERS].map((kind) => [kind, 0]));
  for (const { name, ms } of threadTimes(pid)) {
    const kind = KINDS[name] ?? OTHERS;
    found.set(kind, (found.get(kind) ?? 0) + ms);
  }
  return found;
}

/** Milliseconds of the threads that run JavaScript, by Node's number of each: 0 is the main thread, unless a worker has ended. */
export function cpuMsByThreadId(pid: number): number[] {
  return threadTimes(pid)
    .filter(({ name }) => name === 'MainThread' || name === 'WorkerThread')
    .map(({ ms }) => ms);
}

/** In the order in which they were started. */
function threadTimes(pid: number): ThreadTime[] {
  const ids = readdirSync(`/proc/${pid}/task`).map(Number);
  return ids
    .sort((left, right) => left - right)
    .map((id) => {
      const stat = readFileSync(`/proc/${pid}/task/${id}/stat`, 'utf8');
      const nameEnd = stat.lastIndexOf(')');
      const fields = stat.slice(nameEnd + 2).split(' ');
      return {
        name: stat.slice(stat.indexOf('(') + 1, nameEnd),
        ms: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
      };
    });
}
