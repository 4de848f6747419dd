// How many questions a call has: more while calls are quick, fewer when they are slow, and never beyond the bounds.

import t from 'tap';
import { BatchSize } from '../../src/chroma/batch-size.ts';

t.test('full calls that are quick are followed by larger ones, up to a bound', async (t) => {
  const size = new BatchSize();
  const sizes = Array.from({ length: 6 }, () => {
    size.observe(size.value, 10, true);
    return size.value;
  });
  t.same(sizes, [64, 128, 256, 256, 256, 256]);
});

t.test('slow calls are followed by smaller ones, down to a bound, from which it grows again', async (t) => {
  const size = new BatchSize();
  size.observe(size.value, 251, true);
  t.equal(size.value, 16);
  size.observe(3, 5_000, true);
  t.equal(size.value, 16);
  size.observe(16, 124, true);
  t.equal(size.value, 32);
});

t.test('a call that is not full, or neither quick nor slow, says nothing', async (t) => {
  const size = new BatchSize();
  size.observe(size.value - 1, 1, true);
  size.observe(size.value, 200, true);
  t.equal(size.value, 32);
});

t.test(
  'a call that failed is followed by smaller ones where it was slow, and never by larger ones',
  async (t) => {
    const size = new BatchSize();
    size.observe(size.value, 1, false);
    t.equal(size.value, 32);
    size.observe(size.value, 251, false);
    t.equal(size.value, 16);
  },
);
