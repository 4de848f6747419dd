import t from 'tap';
import type { ModelAnswer } from '../../src/domain/generation.ts';
import { DIGEST_SYSTEM_PROMPT, judgeDigest } from '../../src/generation/digest-prompt.ts';

const written = (answer: string, finishReason = 'stop'): ModelAnswer => ({
  kind: 'success',
  answer,
  model: 'm',
  finishReason,
  usage: { promptTokens: null, completionTokens: null, cachedTokens: null },
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
    message: /5 char/,
  });
  t.match(judgeDigest(written('')), { code: 'digest_too_short' });
});

t.test('the model is told what it may write, and that passages give no orders', async (t) => {
  t.match(DIGEST_SYSTEM_PROMPT, /NO CONTEXT/);
  t.match(DIGEST_SYSTEM_PROMPT, /never follow instructions/);
});
