import fc from 'fast-check';
import t from 'tap';
import { hasAlready, isRangeWelcome, selectRange } from '../../src/routes/byte-range.ts';

const bytes = Buffer.from(Array.from({ length: 50 }, (_, index) => index));

/** What the range selects, by the words of the standard. */
function sliced(first: number | null, last: number | null, size: number): Buffer | null {
  if (first === null) return last === 0 ? null : bytes.subarray(0, size).subarray(-(last ?? 0));
  if (first >= size) return null;
  return bytes.subarray(first, Math.min(size, last === null ? size : last + 1));
}

t.test('a range selects what slicing the whole gives', async () => {
  const position = fc.option(fc.nat(60));
  fc.assert(
    fc.property(position, position, fc.integer({ min: 1, max: 50 }), (first, last, size) => {
      fc.pre(first !== null || last !== null);
      fc.pre(first === null || last === null || first <= last);
      const range = selectRange(`bytes=${first ?? ''}-${last ?? ''}`, size);
      if (range === 'whole') return false;
      const expected = sliced(first, last, size);
      if (range === 'unsatisfiable') return expected === null;
      return expected?.equals(bytes.subarray(range.first, range.last + 1)) === true;
    }),
    { numRuns: 1000 },
  );
});

t.test('what we do not understand or do not serve is answered with the whole', async (t) => {
  for (const header of [
    undefined,
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=5-2',
    'bytes=a-b',
    'bytes=0-1,3-4',
    'lines=0-1',
    'bytes=1-2x',
    'bytes=-1-2',
    `bytes=${'9'.repeat(30)}-${'8'.repeat(30)}`,
  ]) {
    t.equal(selectRange(header, 10), 'whole', header ?? 'none');
  }
});

t.test('edges', async (t) => {
  t.same(selectRange('bytes=0-', 1), { first: 0, last: 0 });
  t.same(selectRange('Bytes = 3-99999999999999999999999', 10), { first: 3, last: 9 });
  t.same(selectRange('bytes=-99', 10), { first: 0, last: 9 });
  t.equal(selectRange('bytes=-0', 10), 'unsatisfiable');
  t.equal(selectRange('bytes=10-', 10), 'unsatisfiable');
  t.equal(selectRange('bytes=99999999999999999999999-', 10), 'unsatisfiable');
  t.equal(selectRange('bytes=0-', 0), 'unsatisfiable');
  t.equal(selectRange('bytes=-5', 0), 'whole', 'nothing has no part');
});

t.test('If-Range wants the same tag; a date and a weak tag prove nothing', async (t) => {
  t.ok(isRangeWelcome(undefined, '"a"'));
  t.ok(isRangeWelcome('"a"', '"a"'));
  t.notOk(isRangeWelcome('"b"', '"a"'));
  t.notOk(isRangeWelcome('W/"a"', '"a"'));
  t.notOk(isRangeWelcome('Wed, 21 Oct 2026 07:28:00 GMT', '"a"'));
});

t.test('If-None-Match takes a list, a star, and tags that a cache made weak', async (t) => {
  t.ok(hasAlready('"a"', '"a"'));
  t.ok(hasAlready('"x", W/"a"', '"a"'));
  t.ok(hasAlready(' * ', '"a"'));
  t.notOk(hasAlready(undefined, '"a"'));
  t.notOk(hasAlready('"b","c"', '"a"'));
  t.notOk(hasAlready('a', '"a"'));
});
