// How late the service's event loop is while it takes uploads, runs lines and serves twenty result streams, all at once,
// beside an idle Node process that is measured at the same time on the same machine.
//
//   npm run bench:event-loop [-- --seconds=20 --streams=20 --uploads=2]

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ServiceProcess } from '../src/cli/service-process.ts';
import { type EventLoopFigures, eventLoopFigures, MONITOR_ARGUMENTS } from './parts/event-loop-figures.ts';
import { startInstantModel } from './parts/instant-model.ts';
import { machine } from './parts/machine.ts';
import { ServiceLoad } from './parts/service-load.ts';

const WARM_UP_MS = 5_000;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    streams: { type: 'string', default: '20' },
    uploads: { type: 'string', default: '2' },
  },
});

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
  const service = new ServiceProcess(
    {
      GPU_ENDPOINTS: model.url,
      GPU_CONCURRENCY: '64',
      RAG_MODE: ragMode,
      EVENT_LOOP_FIGURES: servicePath,
    },
    { nodeArguments: MONITOR_ARGUMENTS },
  );
  const load = new ServiceLoad({ streams: Number(values.streams), uploads: Number(values.uploads) });
  try {
    await service.ready(() => {});
    const quiet = await figures(service, 1_000);
    await load.start(service.url);
    await sleep(WARM_UP_MS);
    const before = load.counts;
    const busy = await figures(service, 1000 * Number(values.seconds));
    const after = load.counts;
    console.log(`\nrag_mode=${ragMode}, event-loop delay in ms over ${values.seconds} s`);
    console.log(`  ${'without load'.padEnd(34)} ${describe(quiet.service)}`);
    console.log(`  ${'under load'.padEnd(34)} ${describe(busy.service)}`);
    console.log(`  ${'idle process at the same time'.padEnd(34)} ${describe(busy.idle)}`);
    console.log(
      `  ${'p99 above the idle process'.padEnd(34)} ${(busy.service.p99Ms - busy.idle.p99Ms).toFixed(1)}`,
    );
    const perSecond = (count: number) => (count / Number(values.seconds)).toFixed(0);
    console.log(
      `  load: ${perSecond(after.lines - before.lines)} lines/s run, ${perSecond(after.uploaded - before.uploaded)} lines/s uploaded, ` +
        `${perSecond((after.streamedBytes - before.streamedBytes) / 1e6)} MB/s in ${values.streams} streams`,
    );
  } finally {
    load.stop();
    await service.stop();
  }
}

/** What both processes say about the time from now on. */
async function figures(
  service: ServiceProcess,
  durationMs: number,
): Promise<{ service: EventLoopFigures; idle: EventLoopFigures }> {
  const ask = async () => ({
    service: await eventLoopFigures(service.pid ?? 0, servicePath),
    idle: await eventLoopFigures(idle.pid ?? 0, idlePath),
  });
  await ask();
  await sleep(durationMs);
  return ask();
}

function describe({ p50Ms, p99Ms, maxMs }: EventLoopFigures): string {
  return `p50 ${p50Ms.toFixed(1)}  p99 ${p99Ms.toFixed(1)}  max ${maxMs.toFixed(1)}`;
}
