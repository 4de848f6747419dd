// What the planner saves: generated questions whose topics follow Zipf's law, planned at once and read by simulated model
// servers with prefix caches, beside the same questions in the order of their file, in turn to each server.
//
//   npm run bench:planner [-- --lines=20000 --seed=1 --set=retrieved.jsonl]

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { plannedRow } from '../test/fakes/planned-row.ts';
import { roundRobin, zipfSets } from '../test/fakes/zipf-sets.ts';
import { machine, report } from './parts/report.ts';

const ORDERS = ['preserve', 'pin_top', 'full'] as const;
const ASKED = { preserve: 0.81, pin_top: 0.66, full: 0.53 } as const;

const { values } = parseArgs({
  options: {
    lines: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    /** A file with a JSON list of passages on each line, instead of generated ones. */
    set: { type: 'string', default: '' },
  },
});
const all = values.set
  ? readFileSync(values.set, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as unknown[]).map(String))
  : zipfSets(Number(values.lines), Number(values.seed));

console.log(machine());
for (const sets of [all, all.slice(0, 2_000)]) {
  const base = roundRobin(sets);
  for (const order of ORDERS) {
    const { row, planMs } = plannedRow(sets, order);
    report(`${sets.length} lines, ${order}`, [
      [
        'prefill work / round-robin',
        `${(row.work / base.work).toFixed(4)} (asked for 20,000: ${ASKED[order]})`,
      ],
      ['makespan / round-robin', (row.makespan / base.makespan).toFixed(4)],
      ['longest / mean busy time', (row.makespan / (row.work / row.busy.length)).toFixed(4)],
      ['planned and cut in', `${planMs.toFixed(0)} ms`],
    ]);
  }
}
