import fc from 'fast-check';
import t from 'tap';
import { LOOKS_LIKE_LABEL, passageLabel } from '../../src/generation/passage-label.ts';

const labelOf = (documentId: string, chunk = 3) => passageLabel({ documentId, chunk });

t.test('an ordinary id is its own label', async (t) => {
  for (const id of [
    'doc',
    'guide/setup.md',
    'XQuAD-12',
    'a_b.c~d',
    'https://example.org/a',
    '用户手册',
    'naïve',
    "O'Brien",
  ]) {
    t.equal(labelOf(id), `${id}#3`);
  }
});

t.test('any other id is made to fit, by what is left of it and a part of its hash', async (t) => {
  t.match(labelOf('My notes [v2], "new".md'), /^My_notes_v2_new_\.md~[0-9a-f]{8}#3$/);
  t.match(labelOf(`${'folder/'.repeat(50)}the-end.md`), /^.{1,40}the-end\.md~[0-9a-f]{8}#3$/);
  t.match(labelOf(''), /^~[0-9a-f]{8}#3$/);
  t.not(labelOf('a b'), labelOf('a_b'));
  t.not(labelOf('a b'), labelOf('a  b'));
  t.not(labelOf('cafe\u0301'), labelOf('café'), 'forms that look alike are different ids');
  const borrowed = labelOf('a b').replace('#3', '');
  t.not(labelOf(borrowed), labelOf('a b'), 'an id cannot borrow the label of another');
});

t.test('every label can be cited, and no two ids have the same', async () => {
  const id = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string(),
    fc.string({ unit: fc.constantFrom('a', ' ', '[', '_', '~', '#') }),
  );
  fc.assert(
    fc.property(id, id, fc.nat({ max: 999 }), (one, other, chunk) => {
      const label = labelOf(one, chunk);
      return (
        LOOKS_LIKE_LABEL.test(label) &&
        label.length <= 80 &&
        !/[\s<>&"[\](),;`|*\p{Cc}\p{Cf}]/u.test(label) &&
        (one === other || label !== labelOf(other, chunk))
      );
    }),
    { numRuns: 1_000 },
  );
});
