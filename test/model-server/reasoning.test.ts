import t from 'tap';
import { stripReasoning } from '../../src/model-server/reasoning.ts';

t.test('takes reasoning off the front of an answer', async (t) => {
  t.equal(stripReasoning('<think>\nhm, 2+2\n</think>\n\nFour.'), 'Four.');
  t.equal(stripReasoning('  <think></think><think>again</think> Four.'), 'Four.');
  t.equal(stripReasoning('hm, 2+2\n</think>\n\nFour.'), 'Four.', 'the prompt had opened it');
  t.equal(stripReasoning('hm, 2+2 \n </think> Four.'), 'Four.');
  t.equal(stripReasoning('So it is four.</think>\r\n\r\nFour.'), 'Four.');
  t.equal(stripReasoning('So it is four.</think>Four.'), 'Four.', 'as DeepSeek writes it');
  t.equal(stripReasoning('</think>\n\nFour.'), 'Four.');
});

t.test('leaves nothing of a text that never got beyond its reasoning', async (t) => {
  t.equal(stripReasoning('<think>hm, so the user wants'), '');
});

t.test('leaves an answer alone that only talks about the tags', async (t) => {
  for (const answer of [
    'Write <think> and </think> around it.',
    'It ends with `</think>`, and then it writes.',
    'It ends with </think> and then it writes (</think>), or “</think>”.',
    'x < y',
    ' indented',
    '',
  ]) {
    t.equal(stripReasoning(answer), answer);
  }
});
