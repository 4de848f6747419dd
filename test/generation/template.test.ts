import fc from 'fast-check';
import t from 'tap';
import { fillTemplate, templateProblem } from '../../src/generation/template.ts';

t.test('a template has each placeholder once, the context first', async (t) => {
  for (const good of ['{context}{question}', 'A {b} {"json": {}}\n{context}\n{query} {question} C']) {
    t.equal(templateProblem(good), null, good);
  }
  t.match(templateProblem('Answer: {question}'), /must have \{context\} in it/);
  t.match(templateProblem('{context}'), /must have \{question\} in it/);
  t.match(templateProblem('{context} {context} {question}'), /has \{context\} 2 times: write it once/);
  t.match(templateProblem('{question} {context}'), /\{context\} before \{question\}/);
  t.match(templateProblem('{{ context }} {{question}}'), /single braces/);
});

t.test('puts context and question where they belong, and nothing else anywhere', async (t) => {
  const template = 'Use:\n{context}\n\nQ: {question}\nOne word, as {"answer": "…"}.';
  t.equal(fillTemplate(template, 'C', 'Q?'), 'Use:\nC\n\nQ: Q?\nOne word, as {"answer": "…"}.');
  t.equal(
    fillTemplate(template, '{question} $& {context}', '{context} $1'),
    'Use:\n{question} $& {context}\n\nQ: {context} $1\nOne word, as {"answer": "…"}.',
  );
});

t.test('without context its placeholder goes with what introduces it', async (t) => {
  const fill = (template: string) => fillTemplate(template, null, 'Why?');
  t.equal(
    fill('Be brief.\n\nUse only this:\n{context}\n\nQuestion: {question}\n'),
    'Be brief.\n\nQuestion: Why?\n',
  );
  t.equal(fill('Use:\n{context}\n \n\n{question}'), 'Why?');
  t.equal(fill('Be brief.\nContext: {context}\nQuestion: {question}'), 'Be brief.\nQuestion: Why?');
  t.equal(fill('{context} {question}'), 'Why?');
  t.equal(fill('Given {context} say: {question}'), 'Given say: Why?');
});

t.test('what lines share stands before the passages, whatever they ask', async () => {
  const text = fc.string({ unit: 'binary' }).filter((part) => !/[{}]/.test(part));
  fc.assert(
    fc.property(fc.tuple(text, text, text), fc.string(), fc.string(), ([a, b, c], context, question) => {
      const template = `${a}{context}${b}{question}${c}`;
      const filled = fillTemplate(template, context, question);
      const bare = fillTemplate(template, null, question);
      return (
        templateProblem(template) === null &&
        filled === `${a}${context}${b}${question}${c}` &&
        bare.endsWith(`${question}${c}`) &&
        !bare.includes('{context}', question.includes('{') ? bare.length : 0)
      );
    }),
  );
});
