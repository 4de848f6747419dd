// How late the service's event loop is while it takes uploads, runs lines and serves twenty result streams, all at once,
// beside an idle Node process that is measured at the same time on the same machine.
//
//   npm run bench:event-loop [-- --seconds=20 --streams=20 --uploads=2 --upload-rate=5000 --json=<file>]

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
import { type Figure, FigureReport, figure } from './parts/report.ts';
import { ServiceLoad } from './parts/service-load.ts';

const WARM_UP_MS = 5_000;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    streams: { type: 'string', default: '20' },
    uploads: { type: 'string', default: '2' },
    'upload-rate': { type: 'string', default: '5000' },
    json: { type: 'string' },
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
const report = new FigureReport('how late the event loop is');
try {
  for (const ragMode of ['off', 'retrieve']) await measure(ragMode);
  report.write(values.json);
} finally {
  idle.kill();
  await once(idle, 'exit');
  rmSync(folder, { recursive: true });
}

/** Ends when the channel to this process breaks: it outlives no bench that was killed. */
function startIdle(): ChildProcess {
  const program = "process.once('disconnect', () => process.exit())";
  return spawn(process.execPath, [...MONITOR_ARGUMENTS, '--eval', program], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
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
    report.table(`rag_mode=${ragMode}`, [
      ...quantiles('delay without load', quiet.service.delay),
      ...quantiles('delay under load', busy.service.delay),
      ...quantiles('delay of the idle process meanwhile', busy.idle.delay),
      figure('p99 above the idle process', busy.service.delay.p99 - busy.idle.delay.p99, 'ms'),
      ...quantiles('processor time between two ticks', busy.service.work),
      figure('lines run', lines, 'a second'),
      figure('processor time of the service', (usedMs() - before.usedMs) / seconds / 1000, 'of a core'),
      figure('streams of results', loadOptions.streams),
      figure('results', megabytes, 'MB/s in all streams'),
      figure('uploads', loadOptions.uploads),
      figure('lines of each upload', loadOptions.uploadLinesPerSecond, 'a second'),
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

function quantiles(name: string, { p50, p99, max }: Quantiles): Figure[] {
  return Object.entries({ p50, p99, max }).map(([of, ms]) => figure(`${name}, ${of}`, ms, 'ms'));
}
