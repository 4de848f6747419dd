import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { CHUNK_BYTES, CHUNK_LINES, type NewChunk } from '../../src/domain/chunk.ts';
import { ChunkBuilder } from '../../src/scheduler/chunk-builder.ts';

interface Line {
  readonly number: number;
  readonly bytes: Buffer;
}

function build(lines: readonly Line[], isBad: (line: Line) => boolean = () => false): NewChunk[] {
  const builder = new ChunkBuilder();
  const chunks = lines.map((line) =>
    builder.add(
      line.number,
      line.bytes,
      isBad(line) ? { line: line.number, code: 'line_not_json', message: 'no' } : null,
    ),
  );
  return [...chunks, builder.flush()].filter((chunk) => chunk !== null);
}

/** The lines as whoever claims the chunks reads them. */
const unpack = (chunks: readonly NewChunk[]) =>
  chunks.flatMap((chunk) =>
    String(chunk.text)
      .split('\n')
      .map((text, index) => [chunk.firstLine + index, text] as const)
      .filter(([number]) => !chunk.blankLines.includes(number)),
  );

const line = (number: number, length: number): Line => ({
  number,
  bytes: Buffer.alloc(length, String(number % 10)),
});

/** Growing line numbers with holes where blank lines were, and lengths around what fits a chunk. */
const uploads = fc
  .array(
    fc.record({
      run: fc.integer({ min: 1, max: 300 }),
      hole: fc.oneof(fc.nat(2), fc.constantFrom(CHUNK_LINES, CHUNK_LINES + 1, 1_000_000)),
      length: fc.oneof(
        fc.nat(20),
        fc.constantFrom(0, CHUNK_BYTES / 2, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1),
      ),
    }),
    { maxLength: 6 },
  )
  .map((runs) => {
    const lines: Line[] = [];
    let number = 0;
    for (const { run, hole, length } of runs) {
      number += hole;
      // Long lines come in twos and threes: enough to meet, and cheap.
      for (let count = length > 20 ? Math.min(run, 3) : run; count > 0; count -= 1) {
        number += 1;
        lines.push(line(number, length));
      }
    }
    return lines;
  });

t.test('chunks hold all lines, in order, under their numbers, and within the limits', async () => {
  fc.assert(
    fc.property(uploads, (lines) => {
      const chunks = build(lines, ({ number }) => number % 7 === 0);
      assert.deepEqual(
        unpack(chunks),
        lines.map(({ number, bytes }) => [number, String(bytes)]),
      );
      assert.deepEqual(
        chunks.map((chunk) => chunk.number),
        chunks.map((_, index) => index),
        'numbered without a hole',
      );
      for (const chunk of chunks) {
        assert.ok(chunk.lineCount >= 1 && chunk.lineCount <= CHUNK_LINES);
        assert.ok(chunk.text.length <= CHUNK_BYTES || chunk.lineCount === 1);
        const end = chunk.firstLine + chunk.lineCount + chunk.blankLines.length;
        assert.ok(
          chunk.problems.every(
            (problem) => problem.line % 7 === 0 && problem.line >= chunk.firstLine && problem.line < end,
          ),
          'a problem stands with its line',
        );
      }
      assert.equal(
        chunks.reduce((sum, chunk) => sum + chunk.problems.length, 0),
        lines.filter(({ number }) => number % 7 === 0).length,
      );
    }),
    { numRuns: 40 },
  );
});

t.test('fills a chunk to the last line and the last byte', async (t) => {
  const short = Array.from({ length: CHUNK_LINES + 1 }, (_, index) => line(index + 1, 1));
  t.same(
    build(short).map((chunk) => chunk.lineCount),
    [CHUNK_LINES, 1],
  );
  // Two lines and the newline between them make exactly the limit; one byte more does not fit.
  t.same(
    build([line(1, CHUNK_BYTES / 2), line(2, CHUNK_BYTES / 2 - 1)]).map((chunk) => chunk.text.length),
    [CHUNK_BYTES],
  );
  t.same(
    build([line(1, CHUNK_BYTES / 2), line(2, CHUNK_BYTES / 2)]).map((chunk) => chunk.lineCount),
    [1, 1],
  );
});

t.test('a line over the limit stands alone, between its neighbours', async (t) => {
  const chunks = build([line(1, 5), line(2, CHUNK_BYTES + 1), line(3, 5), line(4, 5)]);
  t.same(
    chunks.map(({ firstLine, lineCount }) => [firstLine, lineCount]),
    [
      [1, 1],
      [2, 1],
      [3, 2],
    ],
  );
});

t.test('blank lines stay in the text but are no lines, until there are too many of them', async (t) => {
  const chunks = build([line(2, 1), line(3, 1), line(6, 1), line(6 + CHUNK_LINES + 2, 1)]);
  t.same(
    chunks.map(({ firstLine, lineCount, blankLines, text }) => [
      firstLine,
      lineCount,
      blankLines,
      String(text),
    ]),
    [
      [2, 3, [4, 5], '2\n3\n\n\n6'],
      [6 + CHUNK_LINES + 2, 1, [], '4'],
    ],
  );
});

t.test('without lines there is no chunk, however often it is asked', async (t) => {
  const builder = new ChunkBuilder();
  t.equal(builder.flush(), null);
  builder.add(1, Buffer.from('a'), null);
  t.equal(builder.flush()?.lineCount, 1);
  t.equal(builder.flush(), null);
});
