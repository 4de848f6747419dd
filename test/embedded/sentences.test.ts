import t from 'tap';
import { splitSentences } from '../../src/embedded/sentences.ts';

/** Each case is the list of sentences that its joined text must be cut into again. */
const cases: Record<string, string[]> = {
  'plain sentences': ['The mill turns.', 'Is it loud?', 'It is!'],
  'titles before names': ['Dr. Smith met Mrs. Jones and Prof. Ada Byron.', 'They talked.'],
  initials: ['The book is by J. R. R. Tolkien.', 'It is long.'],
  'a country with stops inside a sentence': ['The U.S. Army came.', 'It left.'],
  'a country with stops at the end': ['He lived in the U.S.', 'The army came later.'],
  'decimals and versions': ['It weighs 3.5 kg since v1.2 of the plan.', 'Before, 2.25 kg.'],
  'numbered things': ['See No. 5 and pp. 12 of vol. 3 for it.', 'Then go on.'],
  'the word No as a sentence': ['Is it possible?', 'No.', 'The plan failed.'],
  'latin abbreviations': ['Use a server, e.g. Ollama or i.e. Your own.', 'Then start.'],
  'months with stops': ['It began on Sept. 11 and ended on Dec. 24 that year.', 'Nobody knew.'],
  'quoted speech': ['"Is it done?" he asked.', '"Yes."'],
  'file names': ['Read docs/api.md first.', 'Then call it.'],
  cyrillic: ['Версия 2.0 вышла.', 'Она хороша.'],
  chinese: ['今天是星期一。', '明天是星期二！'],
  hindi: ['यह है।', 'वह है।'],
  arabic: ['هل هذا صحيح؟', 'نعم.'],
  german: ['Das Haus in der Karlstr. 5 ist alt.', 'Es steht noch.'],
};

for (const [name, sentences] of Object.entries(cases)) {
  t.test(`cuts between sentences and nowhere else: ${name}`, (t) => {
    t.same(splitSentences(sentences.join(' ')), sentences);
    t.end();
  });
}

t.test('a text of nothing but initials loses nothing', (t) => {
  const sentences = splitSentences('A. '.repeat(10_000));
  t.equal(sentences.join(' '), 'A. '.repeat(10_000).trim());
  t.end();
});

t.test('an empty text has no sentences', (t) => {
  t.same(splitSentences('  '), []);
  t.end();
});
