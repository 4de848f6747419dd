// A slice of the campaign of random kills (random-kills.campaign.ts).

import t from 'tap';
import { Chance } from './chance.ts';
import { noFigures, printFigures } from './figures.ts';
import { randomKills } from './random-kills.ts';
import { chaosSurroundings } from './surroundings.ts';

t.test('kill -9 at random instants: nothing lost, nothing twice', async (t) => {
  const chance = new Chance();
  t.comment(`CHAOS_SEED=${chance.seed}`);
  const figures = noFigures();
  await randomKills(await chaosSurroundings(t), { rounds: 4, chance, figures });
  t.equal(figures.kills, 4);
  printFigures(t, figures);
});
