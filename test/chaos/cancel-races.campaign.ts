// F41: 400 races between a cancel and the end of the batch.

import t from 'tap';
import { cancelRaces } from './cancel-races.ts';
import { Chance } from './chance.ts';
import { chaosSurroundings } from './surroundings.ts';

const ROUNDS = 400;

t.test('cancelled at random instants, twice, and while it finishes', async (t) => {
  const chance = new Chance();
  t.comment(`CHAOS_SEED=${chance.seed}`);
  const cancelled = await cancelRaces(await chaosSurroundings(t), { rounds: ROUNDS, chance });
  t.comment(`${cancelled} of ${ROUNDS} were cancelled in time`);
  t.ok(cancelled > 0 && cancelled < ROUNDS);
});
