import t from 'tap';
import { Refusals } from '../../src/gpu-pool/refusals.ts';

t.test('a refusal is final once another line was answered', async (t) => {
  const refusals = new Refusals();
  const verdicts = [refusals.refused(), refusals.refused()];
  refusals.answered();
  t.same(await Promise.all(verdicts), ['final', 'final']);
});

t.test('what cannot be told is to be tried elsewhere', async (t) => {
  const refusals = new Refusals();
  const verdict = refusals.refused();
  refusals.giveUp();
  refusals.answered();
  t.equal(await verdict, 'elsewhere');
});

t.test('five in a row are doubtful, and more once it was trusted', async (t) => {
  const refusals = new Refusals();
  for (let count = 0; count < 4; count += 1) void refusals.refused();
  t.notOk(refusals.isDoubtful);
  void refusals.refused();
  t.ok(refusals.isDoubtful);
  refusals.trusted();
  for (let count = 0; count < 9; count += 1) void refusals.refused();
  t.notOk(refusals.isDoubtful);
  void refusals.refused();
  t.ok(refusals.isDoubtful);
  refusals.answered();
  for (let count = 0; count < 5; count += 1) void refusals.refused();
  t.ok(refusals.isDoubtful, 'an answer makes it an endpoint like any other');
});

t.test('lines that others answer convict it at the second, unless it has answered in between', async (t) => {
  const refusals = new Refusals();
  t.notOk(refusals.contradicted());
  refusals.answered();
  t.notOk(refusals.contradicted());
  t.ok(refusals.contradicted());
});
