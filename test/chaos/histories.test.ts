// A slice of the campaign of histories (histories.campaign.ts).

import t from 'tap';
import { noFigures, printFigures } from './figures.ts';
import { runHistories } from './histories.ts';
import { chaosSurroundings } from './surroundings.ts';

t.test('whatever is asked and whenever it is killed, what must hold holds', async (t) => {
  const figures = noFigures();
  await runHistories(await chaosSurroundings(t), { count: 3, stepsMax: 15, limitMs: 120_000, figures });
  t.equal(figures.histories, 3);
  printFigures(t, figures);
});
