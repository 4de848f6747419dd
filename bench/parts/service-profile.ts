// The service run under V8's profiler: where the processor time of each of its threads goes while it works a file of
// questions. What it does before and after is left out. A profile counts by the clock: time in which a thread waits for a
// core, or the store's thread for the disk, is in it. So its parts are shown as shares, beside the processor time that the
// kernel counts; the profiler's own is in both.

import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ServiceProcess } from '../../src/cli/service-process.ts';
import { answerByService } from './answered-file.ts';
import { type CpuProfile, IDLE, type SelfTimes, type Stretch, selfTimes } from './cpu-profile.ts';
import { report } from './report.ts';
import { cpuMsByThreadId } from './thread-figures.ts';

const SAMPLE_INTERVAL_US = 500;
const FUNCTIONS_SHOWN = 20;
/** Of the thread's busy time: areas below it are not shown. */
const SHARE_MIN = 0.005;
/** Code that only one kind of thread runs. */
const THREADS: readonly (readonly [string, string])[] = [
  ['/src/server.ts', 'main thread'],
  ['/src/generation/worker.ts', 'generation thread'],
  ['/src/store/sqlite-thread.ts', 'store thread'],
];

export interface ProfiledWork {
  readonly settings: Readonly<Record<string, string>>;
  readonly path: string;
  readonly lines: number;
  /** For the .cpuprofile files, one a thread. */
  readonly folder: string;
}

/** The file is worked twice, and looked at the second time. */
export async function profileService({ settings, path, lines, folder }: ProfiledWork): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const earlier = new Set(readdirSync(folder));
  const flags = ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-interval=${SAMPLE_INTERVAL_US}`];
  const service = new ServiceProcess(settings, { nodeArguments: flags });
  let stretch: Stretch;
  let cpuUs: number[];
  try {
    await service.ready(() => {});
    await answerByService(service.url, path, lines);
    const before = { us: nowUs(), threads: cpuMsByThreadId(service.pid ?? 0) };
    await answerByService(service.url, path, lines);
    stretch = { fromUs: before.us, toUs: nowUs() };
    cpuUs = cpuMsByThreadId(service.pid ?? 0).map(
      (ms, id) => (1000 * (ms - (before.threads[id] ?? 0))) / lines,
    );
  } finally {
    await service.stop();
  }
  const files = readdirSync(folder).filter((name) => name.endsWith('.cpuprofile') && !earlier.has(name));
  for (const name of files) {
    // CPU.<day>.<time>.<process>.<thread>.<number>.cpuprofile
    const threadUs = cpuUs[Number(name.split('.')[4])] ?? Number.NaN;
    reportThread(join(folder, name), stretch, threadUs);
  }
  console.log(`\nprofiles: ${folder}`);
}

function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/** `cpuUs`: processor time of the thread, a line. */
function reportThread(path: string, stretch: Stretch, cpuUs: number): void {
  const profile = JSON.parse(readFileSync(path, 'utf8')) as CpuProfile;
  const times = selfTimes(profile, stretch);
  const busyUs = sum(times.byArea) - (times.byArea.get(IDLE) ?? 0);
  const rows = (sums: SelfTimes['byArea']) =>
    [...sums]
      .filter(([name, us]) => name !== IDLE && name !== '(idle)' && us >= SHARE_MIN * busyUs)
      .sort(([, left], [, right]) => right - left)
      .map(([name, us]) => [name, `${((100 * us) / busyUs).toFixed(1)} %`] as const);
  const busyShare = ((100 * busyUs) / sum(times.byArea)).toFixed(0);
  const title = `${threadOf(profile)}: ${cpuUs.toFixed(0)} µs of processor time a line, busy ${busyShare} % of the time`;
  report(`${title}, by area`, rows(times.byArea));
  report('its functions', rows(times.byFunction).slice(0, FUNCTIONS_SHOWN));
}

function threadOf({ nodes }: CpuProfile): string {
  const urls = new Set(nodes.map(({ callFrame }) => callFrame.url));
  const found = THREADS.find(([file]) => [...urls].some((url) => url.endsWith(file)));
  return found ? found[1] : 'another thread';
}

function sum(sums: ReadonlyMap<string, number>): number {
  return [...sums.values()].reduce((total, us) => total + us, 0);
}
