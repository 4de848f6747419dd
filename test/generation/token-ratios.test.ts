import fc from 'fast-check';
import t from 'tap';
import { TokenRatios } from '../../src/generation/token-ratios.ts';

const learnt = (...samples: (number | undefined)[]) => {
  const ratios = new TokenRatios();
  for (const sample of samples) ratios.learn('m', sample);
  return ratios;
};

t.test('starts low, for every model', async (t) => {
  t.equal(new TokenRatios().of('m'), 3);
  t.equal(new TokenRatios().of(null), 3);
  t.equal(learnt(5, 5, 5).of('other'), 3);
});

t.test('comes to what it is told, downwards at once and upwards bit by bit', async (t) => {
  const up = learnt(...Array.from({ length: 60 }, () => 4.4));
  t.ok(Math.abs(up.of('m') - 4.4) < 0.01);
  t.ok(learnt(4.4).of('m') < 3.2);
  t.ok(learnt(1.5, 1.5, 1.5).of('m') < 1.7);
  t.equal(up.of(null), up.of('m'), 'a line that names no model goes by what is known');
});

t.test('in a batch of two languages it stays near the one that needs more', async (t) => {
  const mixed = learnt(...Array.from({ length: 200 }, (_, index) => (index % 2 === 0 ? 4.5 : 2.5)));
  t.ok(mixed.of('m') < 3.1);
});

t.test('stays between bounds, whatever it is told', async () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.double(), { nil: undefined })), (samples) => {
      const ratio = learnt(...samples).of('m');
      return ratio >= 1 && ratio <= 8;
    }),
  );
});

t.test('keeps no more models than there can be', async (t) => {
  const ratios = learnt(4);
  for (let model = 0; model < 1_000; model += 1) ratios.learn(`model-${model}`, 2);
  t.equal(ratios.of('m'), 3, 'forgotten');
  t.equal(ratios.of('model-999'), 2.5);
});
