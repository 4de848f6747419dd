import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { CustomIdIndex } from '../../src/scheduler/custom-id-index.ts';

t.test('knows every id and the line that brought it first, like a map would', async () => {
  const ids = fc.oneof(fc.string({ maxLength: 3 }), fc.constantFrom('a', 'A', '__proto__', '', ' ', '\0'));
  fc.assert(
    fc.property(fc.array(ids, { maxLength: 60 }), (sequence) => {
      const index = new CustomIdIndex();
      const model = new Map<string, number>();
      for (const [position, id] of sequence.entries()) {
        assert.equal(index.add(id, position + 1), model.get(id) ?? null);
        if (!model.has(id)) model.set(id, position + 1);
      }
    }),
  );
});

t.test('loses and confuses nothing while it grows', async (t) => {
  const index = new CustomIdIndex();
  const count = 50_000;
  let wrong = 0;
  for (let line = 1; line <= count; line += 1) if (index.add(`id-${line}`, line) !== null) wrong += 1;
  for (let line = 1; line <= count; line += 1) if (index.add(`id-${line}`, count + line) !== line) wrong += 1;
  t.equal(wrong, 0);
});

t.test('names the first line also to the third one', async (t) => {
  const index = new CustomIdIndex();
  t.same(
    [7, 8, 9].map((line) => index.add('same', line)),
    [null, 7, 7],
  );
});

t.test('takes ids that differ only in a broken surrogate for different ones', async (t) => {
  const index = new CustomIdIndex();
  t.equal(index.add('\ud800', 1), null);
  t.equal(index.add('\ud801', 2), null);
  t.equal(index.add('\ufffd', 3), null);
  t.equal(index.add('\ud800', 4), 1);
});
