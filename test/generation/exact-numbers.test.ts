import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { hasInexactNumbers, parseExactly } from '../../src/generation/exact-numbers.ts';

t.test('numbers that JavaScript would write differently stay as they are', async (t) => {
  for (const number of [
    ...['9223372036854775807', '1.0', '1e-05', '1E5', '-0', '-0.0', '0.10', '1e400', '0.0000001'],
    ...['123456789012345.678', '0.12345678901234567890', '1e2'],
  ]) {
    for (const text of [`{"a":${number}}`, `[1,${number}]`]) {
      t.ok(hasInexactNumbers(text), text);
      t.equal(JSON.stringify(parseExactly(text)), text);
    }
  }
});

t.test('most texts have none, whatever stands in their strings', async (t) => {
  for (const text of [
    '{"a":1,"b":-1.5,"c":[0,100,0.25,1234567890]}',
    '{"custom_id":"q-0","content":"1.0 and, 1e5 and: 9223372036854775807"}',
  ]) {
    t.notOk(hasInexactNumbers(text), text);
    t.equal(JSON.stringify(parseExactly(text)), text);
  }
});

t.test('none is overlooked', () => {
  const digits = fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: 24 });
  const number = fc
    .tuple(
      fc.constantFrom('', '-'),
      digits,
      fc.option(digits),
      fc.option(fc.constantFrom('e1', 'E-7', 'e+22')),
    )
    .map(([sign, whole, part, power]) => {
      return `${sign}${whole.replace(/^0+(?=\d)/, '')}${part === null ? '' : `.${part}`}${power ?? ''}`;
    });
  fc.assert(
    fc.property(number, (text) => {
      assert.equal(hasInexactNumbers(`{"a": ${text}}`), JSON.stringify(JSON.parse(text)) !== text);
    }),
    { numRuns: 3_000 },
  );
  return Promise.resolve();
});
