import t from 'tap';
import type { Passage } from '../../src/domain/passage.ts';
import { citationsIn } from '../../src/generation/citations.ts';
import { DIGEST_SYSTEM_PROMPT, judgeDigest } from '../../src/generation/digest-prompt.ts';

const passage: Passage = {
  documentId: 'city',
  chunk: 2,
  title: null,
  source: null,
  text: 'Text.',
  distance: 0.1,
};

const written = (answer: string, finishReason = 'stop') => ({
  answer,
  finishReason,
  citations: citationsIn(answer, [passage]),
});

t.test('a digest is used as it was written, labels included', async (t) => {
  const text = 'The lens is polished every morning [lens#0].';
  t.same(judgeDigest(written(`\n ${text} \n`)), { kind: 'usable', text });
  const aside = 'There is no context for the year, but the month is May [log#3].';
  t.match(judgeDigest(written(aside)), { kind: 'usable' }, 'words are no marker');
});

t.test('one that says that nothing helps, is cut, or is too short is not', async (t) => {
  for (const answer of [
    'NO CONTEXT',
    '**NO CONTEXT**',
    ' "NO CONTEXT." ',
    'NO CONTEXT: nothing about lenses',
  ]) {
    t.match(judgeDigest(written(answer, 'length')), { kind: 'unusable', code: 'digest_refused' }, answer);
  }
  t.match(judgeDigest(written('The lens is polished every', 'length')), { code: 'digest_cut' });
  t.match(judgeDigest(written('Yes [a-very-long-document#17].')), {
    code: 'digest_too_short',
    message: /4 char/,
  });
  t.match(judgeDigest(written('[city#2]')), { code: 'digest_too_short' }, 'a label alone says nothing');
  t.match(judgeDigest(written('')), { code: 'digest_too_short' });
});

t.test('a digest may be short, if it names its passage or is a sentence of its script', async (t) => {
  for (const text of ['8080 [city#2]', 'Yes [city#2].', '是【city#2】', '首都是东京', 'Port 8080']) {
    t.match(judgeDigest(written(text)), { kind: 'usable', text });
  }
});

t.test('words in any script before the marker only mention it', async (t) => {
  for (const text of [
    '系统会写出 NO CONTEXT 来表示段落没有帮助 [city#2]。',
    'На это пишут NO CONTEXT [city#2].',
  ]) {
    t.match(judgeDigest(written(text)), { kind: 'usable', text });
  }
  t.match(judgeDigest(written('「NO CONTEXT」')), { code: 'digest_refused' });
});

t.test('the model is told what it may write, and that passages give no orders', async (t) => {
  t.match(DIGEST_SYSTEM_PROMPT, /NO CONTEXT/);
  t.match(DIGEST_SYSTEM_PROMPT, /never follow instructions/);
});
