// What the planner saves: generated questions whose topics follow Zipf's law, read by simulated model servers with prefix
// caches; planned at once, beside the order of the file with each server in turn; then planned while they are retrieved,
// in simulated time, beside one plan for all. And how long planning takes, also where lines share what costs it most.
//
//   npm run bench:planner [-- --lines=20000 --seed=1 --set=retrieved.jsonl --streamed=8000
//     --horizon=20000 --json=<file>]

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { planLines } from '../src/planning/plan-lines.ts';
import { inputOf, plannedRow } from '../test/fakes/planned-row.ts';
import { BatchSimulation } from '../test/fakes/simulated-batch.ts';
import { ENDPOINTS, roundRobin, zipfSets } from '../test/fakes/zipf-sets.ts';
import { FigureReport, figure, type Target } from './parts/report.ts';

const ORDERS = ['preserve', 'pin_top', 'full'] as const;
/** Of the work in round-robin, by so many lines planned at once. */
const ASKED = { lines: 20_000, preserve: 0.81, pin_top: 0.66, full: 0.53 } as const;
/** Of so many lines planned while they are retrieved: of the work when all are planned at once, and of the mean busy time. */
const ASKED_STREAMED = { lines: 8_000, work: 1.15, balance: 1.1 } as const;
/** How much faster lines are retrieved than the servers read them when all is planned at once. */
const RETRIEVAL_RATE = 3;

const { values } = parseArgs({
  options: {
    lines: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    /** A file with a JSON list of passages on each line, instead of generated ones. */
    set: { type: 'string', default: '' },
    /** Lines that are planned while they are retrieved. */
    streamed: { type: 'string', default: '8000' },
    horizon: { type: 'string', default: '20000' },
    json: { type: 'string' },
  },
});
const seed = Number(values.seed);
const all = values.set ? readSets(values.set) : zipfSets(Number(values.lines), seed);

const report = new FigureReport('what the planner saves');
for (const sets of [all, all.slice(0, 2_000)]) measureAtOnce(sets);
await measureStreamed(zipfSets(Number(values.streamed), seed));
measureShapes(all.length);
report.write(values.json);

function measureAtOnce(sets: string[][]): void {
  const base = roundRobin(sets);
  for (const order of ORDERS) {
    const { row, processorMs } = plannedRow(sets, order);
    const target = sets.length === ASKED.lines && !values.set ? { atMost: ASKED[order] } : null;
    report.table(`${sets.length} lines at once, ${order}`, [
      figure('prefill work / round-robin', row.work / base.work, '', target),
      figure('makespan / round-robin', row.makespan / base.makespan),
      figure('longest / mean busy time', (ENDPOINTS * row.makespan) / row.work),
      figure('processor time of numbering, planning, cutting', processorMs, 'ms'),
    ]);
  }
}

async function measureStreamed(sets: string[][]): Promise<void> {
  const horizon = Number(values.horizon);
  const isAsked = sets.length === ASKED_STREAMED.lines;
  const asked = (of: 'work' | 'balance'): Target | null => (isAsked ? { atMost: ASKED_STREAMED[of] } : null);
  for (const contextOrder of ORDERS) {
    const { row: atOnce } = plannedRow(sets, contextOrder);
    const arrivalInterval = atOnce.work / sets.length / ENDPOINTS / RETRIEVAL_RATE;
    const batch = { sets, contextOrder, arrivalInterval, horizon, planTime: arrivalInterval / 50 };
    const { row, emptyTakes, plannedLines } = await new BatchSimulation(batch).run();
    const balance = (ENDPOINTS * row.makespan) / row.work;
    report.table(`${sets.length} lines while they are retrieved, horizon ${horizon}, ${contextOrder}`, [
      figure('prefill work / all planned at once', row.work / atOnce.work, '', asked('work')),
      figure('longest / mean busy time', balance, '', asked('balance')),
      figure('takes that found nothing, lines held', emptyTakes),
      figure('plans that a line was in', plannedLines / sets.length),
    ]);
  }
}

/** Lines that share what costs the planner most. */
function measureShapes(lines: number): void {
  const places = Array.from({ length: 100 }, (_, place) => place);
  const shapes: Record<string, (line: number) => readonly string[]> = {
    'all equal': () => places.map(String),
    'all distinct': (line) => places.map((place) => `${line}.${place}`),
    'one passage in all': (line) => places.map((place) => (place === 50 ? 'all' : `${line}.${place}`)),
    'a chain': (line) => places.map((place) => `${line + place}`),
    'all but one': (line) => places.filter((place) => place !== line % 100).map(String),
    'halves of halves': (line) => places.map((place) => `${place}.${(line >> (place % 15)) & 1}`),
  };
  for (const [shape, passagesOf] of Object.entries(shapes)) {
    const sets = Array.from({ length: lines }, (_, line) => passagesOf(line));
    report.table(
      `${lines} lines of 100 passages, ${shape}`,
      ORDERS.map((order) => figure(`processor time, ${order}`, planningMs(sets, order), 'ms')),
    );
  }
}

function planningMs(sets: readonly (readonly string[])[], order: (typeof ORDERS)[number]): number {
  const input = inputOf(sets, order);
  const before = process.threadCpuUsage();
  planLines(input);
  return process.threadCpuUsage(before).user / 1000;
}

function readSets(path: string): string[][] {
  const rows = readFileSync(path, 'utf8').trimEnd().split('\n');
  return rows.map((row) => (JSON.parse(row) as unknown[]).map(String));
}
