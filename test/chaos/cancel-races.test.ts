// A slice of the campaign of cancel races.

import t from 'tap';
import { cancelRaces } from './cancel-races.ts';
import { Chance } from './chance.ts';
import { chaosSurroundings } from './surroundings.ts';

t.test('cancelled at random instants, twice, and while it finishes', async (t) => {
  const chance = new Chance();
  t.comment(`CHAOS_SEED=${chance.seed}`);
  const cancelled = await cancelRaces(await chaosSurroundings(t), { rounds: 25, chance });
  t.comment(`${cancelled} of 25 were cancelled in time`);
  t.ok(cancelled > 0);
});
