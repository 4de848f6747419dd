// F1: 100 kills at random instants in each of the two runs that the runner makes of it.

import t from 'tap';
import { Chance } from './chance.ts';
import { noFigures, printFigures } from './figures.ts';
import { randomKills } from './random-kills.ts';
import { chaosSurroundings } from './surroundings.ts';

/** On one data folder: more would only read the same finished batches again. */
const ROUNDS_PER_FOLDER = 10;
const FOLDERS = 10;

t.test('kill -9 at random instants: nothing lost, nothing twice', async (t) => {
  const chance = new Chance();
  t.comment(`CHAOS_SEED=${chance.seed}`);
  const figures = noFigures();
  const surroundings = await chaosSurroundings(t);
  for (let folder = 0; folder < FOLDERS; folder += 1) {
    await randomKills(surroundings, { rounds: ROUNDS_PER_FOLDER, chance, figures });
    t.pass(`${figures.kills} kills`);
  }
  printFigures(t, figures);
});
