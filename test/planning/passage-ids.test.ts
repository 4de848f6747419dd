// Numbers of passages: one each while somebody holds it, and nothing left of it afterwards.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { PassageIds } from '../../src/planning/passage-ids.ts';

t.test('a passage has one number while it is held, and no two have the same', async () => {
  const steps = fc.array(fc.record({ key: fc.constantFrom(...'abcdef'), isHold: fc.boolean() }));
  fc.assert(
    fc.property(steps, (list) => {
      const ids = new PassageIds();
      const held = new Map<string, { id: number; holders: number }>();
      for (const { key, isHold } of list) {
        const known = held.get(key);
        if (isHold) {
          const id = ids.hold(key, known ? 99 : key.charCodeAt(0));
          assert.equal(known?.id ?? id, id);
          held.set(key, { id, holders: 1 + (known?.holders ?? 0) });
        } else if (known) {
          ids.release(known.id);
          if (known.holders === 1) held.delete(key);
          else held.set(key, { ...known, holders: known.holders - 1 });
        }
        assert.equal(new Set(Array.from(held.values(), ({ id }) => id)).size, held.size);
        for (const [one, { id }] of held) {
          assert.deepEqual([ids.keyOf(id), ids.costOf(id)], [one, one.charCodeAt(0)]);
          assert.ok(id < ids.limit);
        }
      }
      for (const { id, holders } of held.values())
        for (let left = holders; left > 0; left -= 1) ids.release(id);
      assert.equal(ids.limit, 0, 'nothing is kept of what nobody holds');
    }),
  );
});
