// What planning window by window loses beside one plan for all, in simulated time.

import t from 'tap';
import { plannedRow } from '../fakes/planned-row.ts';
import { BatchSimulation } from '../fakes/simulated-batch.ts';
import { ENDPOINTS, zipfSets } from '../fakes/zipf-sets.ts';

/** Retrieval, beside what the endpoints take when all is planned at once. */
const RETRIEVAL_RATE = 3;

for (const contextOrder of ['preserve', 'pin_top', 'full'] as const) {
  t.test(`${contextOrder}: lines retrieved at three times the rate at which they are taken`, async (t) => {
    const sets = zipfSets(8_000, 1);
    const { row: atOnce } = plannedRow(sets, contextOrder);
    const arrivalInterval = atOnce.work / sets.length / ENDPOINTS / RETRIEVAL_RATE;
    const batch = {
      sets,
      contextOrder,
      arrivalInterval,
      horizon: sets.length,
      planTime: arrivalInterval / 50,
    };
    const { row, emptyTakes, plannedLines } = await new BatchSimulation(batch).run();
    const work = row.work / atOnce.work;
    t.ok(work <= 1.15, `${work.toFixed(4)} of the work of one plan`);
    t.ok(row.makespan <= (1.1 * row.work) / ENDPOINTS, 'all are equally busy');
    t.equal(emptyTakes, 0, 'no endpoint is idle while lines are held');
    t.ok(plannedLines <= 6 * sets.length, `a line is in ${plannedLines / sets.length} plans`);
  });
}

t.test(
  'a horizon that moves with the lines costs little more than one plan after the other, and nobody waits',
  async (t) => {
    const horizon = 4_000;
    const sets = zipfSets(5 * horizon, 2);
    const windows = Array.from({ length: 5 }, (_, index) =>
      sets.slice(index * horizon, (index + 1) * horizon),
    );
    for (const contextOrder of ['preserve', 'pin_top', 'full'] as const) {
      const byWindow = windows.reduce((sum, window) => sum + plannedRow(window, contextOrder).row.work, 0);
      const arrivalInterval = byWindow / sets.length / ENDPOINTS / RETRIEVAL_RATE;
      const batch = { sets, contextOrder, arrivalInterval, horizon, planTime: arrivalInterval / 50 };
      const { row, emptyTakes } = await new BatchSimulation(batch).run();
      const work = row.work / byWindow;
      t.equal(emptyTakes, 0);
      t.ok(work <= 1.05, `${contextOrder}: ${work.toFixed(4)} of the work of five plans`);
    }
  },
);
