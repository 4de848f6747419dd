// F2: every named point, five times in each of the two runs that the runner makes of it.

import t from 'tap';
import { Chance } from './chance.ts';
import { noFigures, printFigures } from './figures.ts';
import { killAtPoint, NAMED_POINTS } from './named-points.ts';
import { chaosSurroundings } from './surroundings.ts';

const ROUNDS = 5;

t.test('killed at named points: whole, once, and under the same key the same', async (t) => {
  const chance = new Chance();
  t.comment(`CHAOS_SEED=${chance.seed}`);
  const surroundings = await chaosSurroundings(t);
  const figures = noFigures();
  for (const named of NAMED_POINTS) {
    for (let round = 0; round < ROUNDS; round += 1)
      await killAtPoint(surroundings, named, { chance, figures });
    t.pass(named.name);
  }
  printFigures(t, figures);
});
