// Remembered weights: the same figures as worked out anew, however many passages come and go.

import fc from 'fast-check';
import t from 'tap';
import { hashOf } from '../../src/chroma/lexical-hash.ts';
import { chunkWeights } from '../../src/chroma/lexical-weights.ts';
import { PassageWeights } from '../../src/chroma/passage-weights.ts';

const words = fc.constantFrom('glacier', 'moraine', 'lens', 'fog', 'amber', 'resin', 'star', 'coast');
const texts = fc.array(words, { maxLength: 12 }).map((chosen) => chosen.join(' '));
const terms = ['glacier', 'moraine', 'fog', 'zeppelin'];
const question = {
  hashes: Uint32Array.from(terms, hashOf),
  shares: Float64Array.of(0.4, 0.3, 0.2, 0.1),
};

function similarity(text: string): number {
  const weights = chunkWeights(text);
  return terms.reduce((sum, term, at) => sum + (question.shares[at] ?? 0) * (weights.get(term) ?? 0), 0);
}

t.test('a similarity is what the weights say, at the first and at every later look', async () => {
  const property = fc.property(fc.array(texts, { maxLength: 60 }), (asked) => {
    const passages = new PassageWeights(4);
    return asked.every((text, at) => {
      if (at % 3 === 0) passages.remember(text, chunkWeights(text));
      return Math.abs(passages.similarity(question, text) - similarity(text)) < 1e-8;
    });
  });
  fc.assert(property);
});

t.test('what shares no term has exactly none', async (t) => {
  const passages = new PassageWeights();
  t.equal(passages.similarity(question, 'amber resin'), 0);
  t.equal(passages.similarity(question, ''), 0);
});
