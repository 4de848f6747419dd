// Filters: what Chroma would refuse is told at the upload, and what it takes is let through.

import t from 'tap';
import { whereProblem } from '../../src/domain/where.ts';

const list = (length: number) => Array.from({ length }, (_, index) => `v${index}`);
const conditions = (length: number) => Array.from({ length }, (_, index) => ({ a: index }));

t.test('what Chroma takes', async (t) => {
  const taken: Record<string, unknown> = {
    text: { lang: 'en' },
    'both kinds of surrogates together': { a: '😀' },
    'a fraction': { a: { $gt: 2.5 } },
    integers: { a: { $in: [1, 2, -3] } },
    fractions: { a: { $nin: [1.5, 2.5] } },
    'true and false': { a: { $in: [true, false] } },
    'the least integer': { a: -(2 ** 63) },
    'many values': { a: { $in: list(10_000) } },
    'many conditions': { $or: conditions(900) },
    nested: { $and: [{ $or: conditions(30) }, { a: { $ne: 'x' } }] },
  };
  for (const [name, where] of Object.entries(taken)) t.equal(whereProblem(where), null, name);
});

t.test('what Chroma refuses, and what no filter is', async (t) => {
  const refused: [unknown, RegExp][] = [
    [{ a: { $in: [1, 2.5] } }, /integers only, or fractions only/],
    [{ a: { $in: [1, 'x'] } }, /values of one kind/],
    [{ a: { $in: [] } }, /values of one kind/],
    [{ a: 2 ** 63 }, /beyond 64 bits/],
    [{ a: { $gt: -(2 ** 64) } }, /beyond 64 bits/],
    [{ a: { $in: [1, 1e30] } }, /beyond 64 bits/],
    [{ a: '\ud800' }, /no text/],
    [{ a: { $in: ['x', '\udc00'] } }, /no text/],
    [{ '\ud800': 1 }, /names a field that is no text/],
    [{ a: { $in: list(10_001) } }, /10000 values/],
    [{ $or: conditions(901) }, /900 conditions/],
    [{ $and: [{ $or: conditions(600) }, { $or: conditions(600) }] }, /900 conditions/],
    [{ a: 1, b: 2 }, /one field/],
    [{ $and: [{ a: 1 }] }, /two filters or more/],
    [{ a: { $gt: 'x' } }, /with a number/],
    [{ a: { $like: 'x' } }, /unknown operator/],
    [{ a: null }, /a text, a number/],
    [[], /must be an object/],
  ];
  for (const [where, problem] of refused)
    t.match(whereProblem(where), problem, JSON.stringify(where).slice(0, 60));
});
