import fc from 'fast-check';
import t from 'tap';
import { Bag, type BagMember } from '../src/bag.ts';

const member = (name: string): BagMember & { name: string } => ({ name, place: -1 });

t.test('has what was added and not taken out, whatever the order of it', async (t) => {
  const property = fc.property(fc.array(fc.tuple(fc.nat(19), fc.boolean())), (turns) => {
    const members = Array.from({ length: 20 }, (_, index) => member(String(index)));
    const bag = new Bag<(typeof members)[number]>();
    const expected = new Set<unknown>();
    for (const [at, isAdded] of turns) {
      const one = members[at];
      if (!one) return false;
      if (bag.remove(one) !== expected.delete(one)) return false;
      if (isAdded) {
        bag.add(one);
        expected.add(one);
      }
    }
    const names = bag.members.map(({ name }) => name);
    return (
      bag.size === expected.size &&
      names.length === expected.size &&
      members.every((one) => expected.has(one) === names.includes(one.name))
    );
  });
  t.doesNotThrow(() => fc.assert(property));
});

t.test('what is taken out while all are looked at changes nothing of them', async (t) => {
  const bag = new Bag<ReturnType<typeof member>>();
  const [a, b] = [member('a'), member('b')];
  bag.add(a);
  bag.add(b);
  for (const one of bag.members) {
    t.ok(bag.remove(one));
    t.notOk(bag.remove(one), 'once');
  }
  t.equal(bag.size, 0);
  bag.add(b);
  t.same([...bag], [b]);
});
