// How late the service's event loop is while it takes uploads, runs lines and serves twenty result streams, all at once,
// beside an idle Node process that is measured at the same time on the same machine.
//
//   npm run bench:event-loop [-- --seconds=20 --streams=20 --uploads=2 --upload-rate=5000]

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ServiceProcess } from '../src/cli/service-process.ts';
import {
  type EventLoopFigures,
  eventLoopFigures,
  MONITOR_ARGUMENTS,
  type Quantiles,
} from './parts/event-loop-figures.ts';
import { startInstantModel } from './parts/instant-model.ts';
import { cpuMs } from './parts/process-figures.ts';
import { machine, report } from './parts/report.ts';
import { ServiceLoad } from './parts/service-load.ts';

const WARM_UP_MS = 5_000;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    streams: { type: 'string', default: '20' },
    uploads: { type: 'string', default: '2' },
    'upload-rate': { type: 'string', default: '5000' },
  },
});
const seconds = Number(values.seconds);
const loadOptions = {
  streams: Number(values.streams),
  uploads: Number(values.uploads),
  uploadLinesPerSecond: Number(values['upload-rate']),
};

const folder = mkdtempSync(join(tmpdir(), 'ragmill-bench-'));
const idlePath = join(folder, 'idle.json');
const servicePath = join(folder, 'service.json');
const idle = startIdle();
try {
  console.log(machine());
  for (const ragMode of ['off', 'retrieve']) await measure(ragMode);
} finally {
  idle.kill();
  await once(idle, 'exit');
  rmSync(folder, { recursive: true });
}

function startIdle(): ChildProcess {
  return spawn(process.execPath, [...MONITOR_ARGUMENTS, '--eval', 'setInterval(() => {}, 60_000)'], {
    stdio: 'inherit',
    env: { ...process.env, EVENT_LOOP_FIGURES: idlePath },
  });
}

async function measure(ragMode: string): Promise<void> {
  await using model = await startInstantModel();
  const settings = { GPU_ENDPOINTS: model.url, GPU_CONCURRENCY: '64', RAG_MODE: ragMode };
  const service = new ServiceProcess(
    { ...settings, EVENT_LOOP_FIGURES: servicePath },
    { nodeArguments: MONITOR_ARGUMENTS },
  );
  const load = new ServiceLoad(loadOptions);
  try {
    await service.ready(() => {});
    const quiet = await figures(service, 1);
    await load.start(service.url);
    await sleep(WARM_UP_MS);
    const usedMs = () => cpuMs(service.pid ?? 0);
    const before = { lines: await linesRun(service), bytes: load.streamedBytes, usedMs: usedMs() };
    const busy = await figures(service, seconds);
    const lines = ((await linesRun(service)) - before.lines) / seconds;
    const megabytes = (load.streamedBytes - before.bytes) / seconds / 1e6;
    const { streams, uploads, uploadLinesPerSecond } = loadOptions;
    report(`rag_mode=${ragMode}, milliseconds`, [
      ['delay without load', describe(quiet.service.delay)],
      ['delay under load', describe(busy.service.delay)],
      ['idle process at the same time', describe(busy.idle.delay)],
      ['p99 above the idle process', (busy.service.delay.p99 - busy.idle.delay.p99).toFixed(1)],
      ['processor time between two ticks', describe(busy.service.work)],
      ['lines run per second', lines.toFixed(0)],
      [
        'processor time of the service',
        `${((usedMs() - before.usedMs) / seconds / 10).toFixed(0)} % of a core`,
      ],
      ['results', `${megabytes.toFixed(1)} MB/s in ${streams} streams`],
      ['uploads', `${uploads} of ${uploadLinesPerSecond} lines/s each`],
    ]);
  } finally {
    load.stop();
    await service.stop();
  }
}

/** Lines that have their record, of all batches. */
async function linesRun(service: ServiceProcess): Promise<number> {
  const metrics = await (await fetch(`${service.url}/metrics`)).text();
  const counts = metrics.matchAll(/^ragmill_lines_total\{.*\} (\d+)$/gm);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** What both processes say about the time from now on. */
async function figures(
  service: ServiceProcess,
  durationSeconds: number,
): Promise<{ service: EventLoopFigures; idle: EventLoopFigures }> {
  const ask = async () => ({
    service: await eventLoopFigures(service.pid ?? 0, servicePath),
    idle: await eventLoopFigures(idle.pid ?? 0, idlePath),
  });
  await ask();
  await sleep(1000 * durationSeconds);
  return ask();
}

function describe({ p50, p99, max }: Quantiles): string {
  return `p50 ${p50.toFixed(1)}  p99 ${p99.toFixed(1)}  max ${max.toFixed(1)}`;
}
