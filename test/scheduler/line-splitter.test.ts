import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { LineSplitter, type RawLine } from '../../src/scheduler/line-splitter.ts';

function splitPieces(pieces: readonly Buffer[], maxLineBytes = 1_000_000): RawLine[] {
  const splitter = new LineSplitter(maxLineBytes);
  return [...pieces.flatMap((piece) => [...splitter.push(piece)]), ...splitter.end()];
}

const linesOf = (...pieces: readonly string[]) =>
  splitPieces(pieces.map((piece) => Buffer.from(piece))).map(({ number, bytes }) => [number, String(bytes)]);

/** What the splitter must do, said the simple way: on text, all at once. */
function expectedLines(text: string, maxLineBytes: number): (readonly [number, string | null])[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line, index) => [index + 1, line.length > maxLineBytes ? null : line.replace(/\r$/, '')]);
}

/** Texts where newlines, carriage returns and the limit meet often. One byte a character. */
const texts = fc
  .array(fc.constantFrom('\n', '\n', '\r\n', '\r', 'a', 'bc', 'defgh', '\0', ' '), { maxLength: 40 })
  .map((parts) => parts.join(''));

t.test('cuts a text into the same lines however its bytes arrive', async () => {
  fc.assert(
    fc.property(
      texts,
      fc.array(fc.nat(100), { maxLength: 10 }),
      fc.integer({ min: 1, max: 12 }),
      (text, cuts, maxLineBytes) => {
        const bytes = Buffer.from(text);
        const ends = [...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
        const pieces = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
        assert.deepEqual(
          splitPieces(pieces, maxLineBytes).map((line) => [
            line.number,
            line.bytes === null ? null : String(line.bytes),
          ]),
          expectedLines(text, maxLineBytes),
        );
      },
    ),
  );
});

t.test('numbers lines from one, blank ones included', async (t) => {
  t.same(linesOf('a\n\n\nb\n'), [
    [1, 'a'],
    [2, ''],
    [3, ''],
    [4, 'b'],
  ]);
});

t.test('takes a last line that no newline ends, and makes none of a final newline', async (t) => {
  t.same(linesOf('a\nb'), [
    [1, 'a'],
    [2, 'b'],
  ]);
  t.same(linesOf('a\n'), [[1, 'a']]);
  t.same(linesOf(''), []);
  t.same(linesOf(), []);
});

t.test('drops the carriage return before a newline, also where a piece ends between the two', async (t) => {
  t.same(linesOf('a\r', '\nb\r\n', 'c\r'), [
    [1, 'a'],
    [2, 'b'],
    [3, 'c'],
  ]);
  t.same(linesOf('a\rb\r\r\n'), [[1, 'a\rb\r']], 'only the last one, and none within a line');
});

t.test('does not cut where a character has a newline byte in it', async (t) => {
  t.same(linesOf('\u010a\u0a0a\u2028\u2029\u0085'), [[1, '\u010a\u0a0a\u2028\u2029\u0085']]);
});

t.test('takes a line of exactly the limit and refuses one more byte', async (t) => {
  const sizesOf = (...lengths: readonly number[]) =>
    splitPieces([Buffer.from(lengths.map((length) => 'x'.repeat(length)).join('\n'))], 10).map(
      ({ bytes }) => bytes?.length ?? null,
    );
  t.same(sizesOf(10, 11, 10), [10, null, 10]);
  t.same(sizesOf(9, 10), [9, 10], 'also at the end');
  t.same(sizesOf(0, 11), [0, null], 'also at the end');
});

t.test('goes on after a line that arrives in many pieces and is far over the limit', async (t) => {
  const pieces = [...Array.from({ length: 500 }, () => Buffer.alloc(1000, 'x')), Buffer.from('\nnext\n')];
  t.same(
    splitPieces(pieces, 1000).map(({ number, bytes }) => [number, bytes && String(bytes)]),
    [
      [1, null],
      [2, 'next'],
    ],
  );
});
