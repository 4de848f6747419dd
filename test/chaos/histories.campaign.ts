// F3: 80 histories in each of the two runs that the runner makes of it.

import t from 'tap';
import { noFigures, printFigures } from './figures.ts';
import { runHistories } from './histories.ts';
import { chaosSurroundings } from './surroundings.ts';

const HISTORIES = 80;
const STEPS_MAX = 60;
const LIMIT_MS = 25 * 60_000;

t.test('whatever is asked and whenever it is killed, what must hold holds', async (t) => {
  const figures = noFigures();
  await runHistories(await chaosSurroundings(t), {
    count: HISTORIES,
    stepsMax: STEPS_MAX,
    limitMs: LIMIT_MS,
    figures,
  });
  t.ok(figures.histories >= HISTORIES);
  printFigures(t, figures);
});
