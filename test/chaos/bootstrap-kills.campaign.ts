// F8: rank 0 killed 20 times at each step of its way to READY.

import t from 'tap';
import { realChroma } from '../fakes/real-chroma.ts';
import { killAtEachStep } from './bootstrap-kills.ts';
import { noFigures, printFigures } from './figures.ts';

const chroma = await realChroma(t);

t.test('killed at each step, with every way of resetting', async (t) => {
  const figures = noFigures();
  await killAtEachStep(t, { chroma, cycles: 10, figures });
  printFigures(t, figures);
});
