// A slice of the campaign of kills on the way to READY (bootstrap-kills.campaign.ts).

import t from 'tap';
import { realChroma } from '../fakes/real-chroma.ts';
import { killAtEachStep } from './bootstrap-kills.ts';
import { noFigures, printFigures } from './figures.ts';

const chroma = await realChroma(t);

t.test('killed at each step, with every way of resetting', async (t) => {
  const figures = noFigures();
  await killAtEachStep(t, { chroma, cycles: 1, figures });
  t.equal(figures.kills, 20);
  printFigures(t, figures);
});
