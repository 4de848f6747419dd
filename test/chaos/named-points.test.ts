// A slice of the campaign of named kill points (named-points.campaign.ts): some of the points, once.

import t from 'tap';
import { Chance } from './chance.ts';
import { noFigures, printFigures } from './figures.ts';
import { killAtPoint, NAMED_POINTS } from './named-points.ts';
import { chaosSurroundings } from './surroundings.ts';

t.test('killed at named points: whole, once, and under the same key the same', async (t) => {
  const chance = new Chance();
  t.comment(`CHAOS_SEED=${chance.seed}`);
  const surroundings = await chaosSurroundings(t);
  const figures = noFigures();
  for (const named of NAMED_POINTS.filter(({ isInSlice }) => isInSlice)) {
    await killAtPoint(surroundings, named, { chance, figures });
    t.pass(named.name);
  }
  printFigures(t, figures);
});
