// Passages are known by what they say, not by where they stand.

import t from 'tap';
import { PassageKeeper } from '../../src/scheduler/passage-keeper.ts';

const passage = (text: string, distance = 0) => ({
  documentId: 'a',
  chunk: 0,
  title: null,
  source: null,
  text,
  distance,
});

t.test('a text that was edited in its place is another one, and is kept as well', async (t) => {
  const keeper = new PassageKeeper();
  const before = keeper.hashesOf([passage('old')]);
  keeper.markStored('b', before);
  t.equal(keeper.missing('b', before, [passage('old')]).size, 0);
  const after = keeper.hashesOf([passage('new')]);
  t.notSame(after, before);
  t.match([...keeper.missing('b', after, [passage('new')]).values()], [{ text: 'new' }]);
  t.same(keeper.hashesOf([passage('old', 0.5)]), before, 'its distance belongs to the question');
});
