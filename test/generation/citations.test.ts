import fc from 'fast-check';
import t from 'tap';
import type { Passage } from '../../src/domain/passage.ts';
import { citationsIn } from '../../src/generation/citations.ts';
import { passageLabel } from '../../src/generation/passage-label.ts';

function passage(documentId: string, chunk = 0): Passage {
  return { documentId, chunk, title: null, source: null, text: 'Text.', distance: 0 };
}

const PASSAGES = [passage('a.md', 1), passage('b.md', 2), passage('guide/snake_case.md', 0)];

function cited(answer: string, passages: readonly Passage[] = PASSAGES) {
  const { known, unknown } = citationsIn(answer, passages);
  return { known: known.map(({ label }) => label), unknown };
}

t.test('finds labels in brackets, each once, in the order of the text', async (t) => {
  t.same(citationsIn('It is so [b.md#2]. And so [a.md#1] [b.md#2].', PASSAGES), {
    known: [
      { label: 'b.md#2', documentId: 'b.md', chunk: 2 },
      { label: 'a.md#1', documentId: 'a.md', chunk: 1 },
    ],
    unknown: [],
  });
});

t.test('reads what models make of the form', async (t) => {
  for (const answer of [
    'x [a.md#1, b.md#2]',
    'x [a.md#1; b.md#2].',
    'x [a.md#1,\nb.md#2]',
    'x [a.md#1 and b.md#2]',
    'x [a.md#1 b.md#2]',
    'x [[a.md#1]][b.md#2]',
    'x [`a.md#1`] `[b.md#2]`',
    'x ["a.md#1"] [\'b.md#2\']',
    'x [id=a.md#1] [Source: b.md#2]',
    'x [passage a.md#1, passage b.md#2]',
    'x [id="a.md#1"] **[b.md#2]**',
    'x [a.md#1](a.md) [b.md#2](https://example.org/b#2)',
    'x 【a.md#1】【b.md#2†L1-L4】',
    'x [ a.md#1 ] [^b.md#2]',
    'x ([a.md#1]) ([see b.md#2 for more])',
  ]) {
    t.same(cited(answer), { known: ['a.md#1', 'b.md#2'], unknown: [] }, answer);
  }
  t.same(cited('x [guide/snake\\_case.md#0]').known, ['guide/snake_case.md#0'], 'escaped for Markdown');
});

t.test('tells labels that nobody has', async (t) => {
  t.same(cited('x [a.md#1] [a.md#9, c.md#0] [c.md#0]'), { known: ['a.md#1'], unknown: ['a.md#9', 'c.md#0'] });
  t.same(cited('x [a.md#1]', []), { known: [], unknown: ['a.md#1'] }, 'no passage stood in the prompt');
  t.equal(cited(Array.from({ length: 100 }, (_, n) => `[no#${n}]`).join(' ')).unknown.length, 20);
});

t.test('other brackets and code are no citations', async (t) => {
  for (const answer of [
    'As in [1], [2, 3] and [^4] [sic] [...] [x] done, list[0], [C#], [#1]',
    '[the guide](guide.md#2) and [c.md#3](guide.md#2)',
    'Call `rows[c#1]` or `x[d#2]`.',
    '```ruby\nputs h[c#1], h[a.md#1]\n```\ndone',
    '~~~\n[c.md#1]\n[a.md#1]',
    'a.md#1 without brackets, (a.md#1), {a.md#1}, [a.md #1',
    '',
  ]) {
    t.same(cited(answer), { known: [], unknown: [] }, answer);
  }
  t.same(cited('```\n[a.md#1]\n```\nx [b.md#2]').known, ['b.md#2'], 'behind a block of code');
});

t.test(
  'finds ids of any kind by their label, and by their own form where that has no brackets',
  async (t) => {
    const ids = ['My notes.md', 'Übersicht (2024)', '手册 [v2]', 'a, b; c', 'tags <b>', 'שלום'];
    for (const id of ids) {
      const label = passageLabel({ documentId: id, chunk: 4 });
      t.same(cited(`x [${label}]`, [passage(id, 4)]).known, [label], id);
      if (!/[[\]]/.test(id)) t.same(cited(`x [${id}#4].`, [passage(id, 4)]).known, [label], id);
    }
  },
);

t.test('every label that is cited is found, whatever stands around it', async () => {
  const around = fc.string({ unit: fc.constantFrom('a', ' ', '.', '(', ')', '\n', '"', '1', '#', 'é', ',') });
  fc.assert(
    fc.property(fc.array(fc.tuple(around, fc.nat({ max: 2 }))), (parts) => {
      const labels = PASSAGES.map((each) => passageLabel(each));
      const answer = parts.map(([text, at]) => `${text} [${labels[at]}]`).join('');
      const { known, unknown } = cited(answer);
      const expected = new Set(parts.map(([, at]) => labels[at]));
      return (
        unknown.length === 0 && known.length === expected.size && known.every((one) => expected.has(one))
      );
    }),
  );
});

t.test('takes linear time, whatever the answer and the ids', async (t) => {
  const pieces = [
    '[',
    ']',
    '[a',
    '[a]',
    '```\n',
    '`',
    '[a,',
    "'",
    ' ',
    '[[',
    '[a.md#1]',
    '\\',
    '[x#1](',
    '~~~',
    '\n',
  ];
  for (const piece of pieces) t.ok(cited(piece.repeat(1_000_000 / piece.length)));
  t.ok(cited('x', [passage(`${"'".repeat(1_000_000)}x`)]));
});
