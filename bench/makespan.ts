// How long a batch takes beside what its servers could do at best: batches over 1, 2, 4 and 8 simulated servers whose answers
// each take their own time, uniform or with a long tail. Nothing is retrieved. The lengths are known to the bench, so that
// the lower bound is exact, and so is what an ideal dispatcher without foreknowledge makes of the same lengths in the same
// order of arrival.
//
//   npm run bench:makespan [-- --servers=1,2,4,8 --shapes=uniform,long-tailed --lines=20000 --slots=32 --answer=1000
//     --uniform-spread=0.5 --sigma=1 --window=32 --kind=generic --json=<file>]
//
// --lines is for the most servers; fewer servers get fewer lines, so that every batch takes about as long.

import { parseArgs } from 'node:util';
import { listScheduleMs, lowerBoundMs } from './parts/ideal-dispatcher.ts';
import { type FinishedRun, PoolRun } from './parts/pool-run.ts';
import { FigureReport, figure } from './parts/report.ts';
import { type LengthShape, relativeLength } from './parts/slot-answer-lengths.ts';
import type { SimulatedKind } from './parts/slot-server-kinds.ts';

const { values } = parseArgs({
  options: {
    servers: { type: 'string', default: '1,2,4,8' },
    shapes: { type: 'string', default: 'uniform,long-tailed' },
    lines: { type: 'string', default: '20000' },
    slots: { type: 'string', default: '32' },
    /** Milliseconds, in the mean. */
    answer: { type: 'string', default: '1000' },
    'uniform-spread': { type: 'string', default: '0.5' },
    sigma: { type: 'string', default: '1' },
    window: { type: 'string', default: '32' },
    kind: { type: 'string', default: 'generic' },
    json: { type: 'string' },
  },
});
const slots = Number(values.slots);
const answerMs = Number(values.answer);
const numbers = values.servers.split(',').map(Number);
const shapes = values.shapes.split(',') as LengthShape[];
/** Asked of so many servers and lines, with either shape. */
const TARGETS = { servers: 8, lines: 20_000, slotsBusy: 0.97, againstIdeal: 1.03 } as const;
const SEED = 1;

const report = new FigureReport('makespan beside the bounds');
console.log(
  `servers of ${slots} slots, ${answerMs} ms an answer in the mean, GPU_CONCURRENCY=${values.window}`,
);
for (const servers of numbers) for (const shape of shapes) await measure(servers, shape);
report.write(values.json);

async function measure(servers: number, shape: LengthShape): Promise<void> {
  const spread = Number(shape === 'uniform' ? values['uniform-spread'] : values.sigma);
  const lengths = { shape, spread, seed: SEED };
  const kind = values.kind as SimulatedKind;
  await using run = await PoolRun.start({
    servers,
    slots,
    answerMs,
    ...lengths,
    kind,
    window: values.window,
  });
  const lines = Math.round((Number(values.lines) * servers) / Math.max(...numbers));
  const finished = await run.run(lines, questionOf);
  const lengthsMs = Array.from(
    { length: lines },
    (_, index) => answerMs * relativeLength(questionOf(index + 1), lengths),
  );
  const boundMs = lowerBoundMs(lengthsMs, servers * slots);
  const idealMs = listScheduleMs(lengthsMs, servers * slots);
  const isAsked = servers === TARGETS.servers && lines === TARGETS.lines;
  const busyTarget = isAsked && shape === 'uniform' ? { atLeast: TARGETS.slotsBusy } : null;
  const idealTarget = isAsked && shape === 'long-tailed' ? { atMost: TARGETS.againstIdeal } : null;
  report.table(`${servers} servers, ${shape} answers`, [
    figure('lines', lines),
    figure('lines failed', finished.failed),
    figure('longest answer', Math.max(...lengthsMs) / 1000, 's'),
    figure('makespan, first request to last result', finished.makespanMs / 1000, 's'),
    figure('makespan / lower bound', finished.makespanMs / boundMs),
    figure("makespan / ideal dispatcher's", finished.makespanMs / idealMs, '', idealTarget),
    figure("ideal dispatcher's / lower bound", idealMs / boundMs),
    figure('slots busy', slotsBusy(finished, servers), '', busyTarget),
    figure('lines a second', (1000 * lines) / finished.makespanMs),
    figure('hedges a line', hedgesPerLine(await run.hedges(), lines)),
    figure('extra calls a line', finished.extraCalls),
    figure('longest queue at a server', Math.max(...finished.counts.map((count) => count.longestQueue))),
    figure('processor time of the service', run.processorShare, 'of a core'),
    figure('processor time of the servers', run.modelsProcessorShare, 'of a core'),
  ]);
}

function questionOf(line: number): string {
  return `What is said about number ${line}?`;
}

/** Share of the makespan during which a slot was in use, in the mean of all slots. */
function slotsBusy({ counts, makespanMs }: FinishedRun, servers: number): number {
  const busyMs = counts.reduce((sum, { busySlotMs }) => sum + busySlotMs, 0);
  return busyMs / (servers * slots * makespanMs);
}

function hedgesPerLine(hedges: number | null, lines: number): number | null {
  return hedges === null ? null : hedges / lines;
}
