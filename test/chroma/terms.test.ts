// Terms: what a question and a passage must agree on.

import t from 'tap';
import { termsOf } from '../../src/chroma/terms.ts';

const meets = (left: string, right: string) => t.same(termsOf(left), termsOf(right), `${left} = ${right}`);

t.test('forms of a word are one term', async () => {
  meets('Investments', 'investing');
  meets('the Panthers’ DEFENSE', 'panther defense');
  meets("Luther's", 'Luther');
});

t.test('writing does not matter: case, accents, compatibility forms, digit groups', async () => {
  meets('Über CAFÉ', 'uber cafe');
  meets('ﬁle', 'file');
  meets('1,234,567', '1234567');
  meets('naïve façade', 'NAIVE FACADE');
});

t.test('function words and punctuation are no terms', async (t) => {
  t.same(termsOf('What is the … of it? — who’s there!'), []);
  t.same(termsOf(''), []);
});

t.test('repetitions and order are kept', async (t) => {
  t.same(termsOf('gpu pool gpu'), ['gpu', 'pool', 'gpu']);
});

t.test('names with underscores, dots and digits are found by their parts', async (t) => {
  t.same(termsOf('GPU_ENDPOINTS=http://10.0.0.7'), ['gpu', 'endpoint', 'http', '10', '0', '0', '7']);
});

t.test('only plain English is stemmed', async (t) => {
  t.same(termsOf('straße каналы h100s'), ['straße', 'каналы', 'h100s']);
});

t.test('writing without spaces is cut into pairs of characters', async (t) => {
  t.same(termsOf('東京都に'), ['東京', '京都', '都に']);
  t.same(termsOf('GPU東京2台'), ['gpu', '東京', '2', '台']);
  t.ok(termsOf('ภาษาไทย').length > 3);
});

t.test('marks that spell vowels stay, marks that are accents go', async (t) => {
  t.same(termsOf('हिन्दी'), ['हिन्दी']);
  t.same(termsOf('e\u0301te\u0301'), termsOf('été'));
});

t.test('no term is longer than forty characters, whatever is in the text', async (t) => {
  for (const run of ['a'.repeat(5_000), 'a1'.repeat(5_000), 'é1'.repeat(5_000)]) {
    const terms = termsOf(run);
    t.equal(terms.length, 1);
    t.ok((terms[0]?.length ?? 0) <= 40);
  }
});
