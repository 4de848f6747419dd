// How the rate grows with the number of model servers: batches over 1, 2, 4 and 8 simulated servers, each of which works
// on so many requests at a time. Nothing but the pool stands between a batch and the bound, which is what the servers can
// do when none of their slots is ever free.
//
//   npm run bench:scaling [-- --servers=1,2,4,8 --seconds=30 --slots=32 --answer=500 --spread=0 --window=auto
//     --json=<file>]

import { parseArgs } from 'node:util';
import { PoolRun } from './parts/pool-run.ts';
import { FigureReport, figure } from './parts/report.ts';

const { values } = parseArgs({
  options: {
    servers: { type: 'string', default: '1,2,4,8' },
    /** What each batch takes when every slot is in use all the time. */
    seconds: { type: 'string', default: '30' },
    slots: { type: 'string', default: '32' },
    /** Milliseconds. */
    answer: { type: 'string', default: '500' },
    spread: { type: 'string', default: '0' },
    window: { type: 'string', default: 'auto' },
    json: { type: 'string' },
  },
});
const slots = Number(values.slots);
const answerMs = Number(values.answer);
const boundMs = 1000 * Number(values.seconds);

/** Of the rate of the fewest servers, times their number. */
const SHARE_MIN = 0.97;

const report = new FigureReport('how the rate grows with the servers');
console.log(`servers of ${slots} slots, ${answerMs} ms an answer, spread ${values.spread}`);
console.log(`rag_mode=off, GPU_CONCURRENCY=${values.window}`);
let base: { servers: number; rate: number } | null = null;
for (const servers of values.servers.split(',').map(Number)) {
  const rate = await measure(servers, base);
  base ??= { servers, rate };
}
report.write(values.json);

/** Lines a second. */
async function measure(servers: number, first: typeof base): Promise<number> {
  const options = { servers, slots, answerMs, spread: Number(values.spread), seed: 1, window: values.window };
  await using run = await PoolRun.start(options);
  const lines = Math.round((servers * slots * boundMs) / answerMs);
  const finished = await run.run(lines);
  const rate = (1000 * lines) / finished.makespanMs;
  const busyMs = finished.counts.reduce((sum, { busySlotMs }) => sum + busySlotMs, 0);
  const ratio = first ? rate / ((first.rate * servers) / first.servers) : 1;
  report.table(`${servers} servers`, [
    figure('lines', lines),
    figure('lines failed', finished.failed),
    figure('lines tried again', finished.triedAgain),
    figure('makespan, first request to last result', finished.makespanMs / 1000, 's'),
    figure('bound, lines / (slots / answer time)', boundMs / 1000, 's'),
    figure('makespan / bound', finished.makespanMs / boundMs),
    figure('lines', rate, 'a second'),
    figure(
      `rate / ${servers / (first?.servers ?? servers)} times the first one`,
      ratio,
      '',
      first && { atLeast: SHARE_MIN },
    ),
    figure('slots in use', busyMs / (servers * slots * finished.makespanMs)),
    figure('longest queue at a server', Math.max(...finished.counts.map((count) => count.longestQueue))),
    figure('processor time of the service', run.processorShare, 'of a core'),
  ]);
  return rate;
}
