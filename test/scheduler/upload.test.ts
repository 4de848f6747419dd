import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { BatchOptions } from '../../src/domain/options.ts';
import { type OpenLine, openLinesOf } from '../../src/scheduler/claimed-lines.ts';
import type { UploadLimits } from '../../src/scheduler/line-intake.ts';
import { Upload } from '../../src/scheduler/upload.ts';
import type { Store } from '../../src/store/store.ts';
import { options } from '../fakes/batch-fixtures.ts';
import { altered, scratchStore } from '../fakes/scratch-store.ts';

const LIMITS: UploadLimits = { maxBatchLines: 10_000, maxBatchBytes: 10_000_000, maxLineBytes: 2_000_000 };
// One store for all: every upload is a batch of its own.
const store = await scratchStore(t);

const line = (id: string, rest: object = {}) =>
  JSON.stringify({ custom_id: id, query: `why ${id}?`, ...rest });

async function* piecesOf(text: string | Buffer, pieceBytes = 1_000_000): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  for (let start = 0; start < bytes.length; start += pieceBytes) {
    yield bytes.subarray(start, start + pieceBytes);
  }
}

interface Attempt {
  readonly limits?: Partial<UploadLimits>;
  readonly options?: Partial<BatchOptions>;
  readonly into?: Store;
  readonly checkRoom?: () => Promise<void>;
}

/** Does what the route does: an upload that fails is abandoned. */
async function upload(source: string | Buffer | AsyncIterable<Buffer>, attempt: Attempt = {}) {
  const limits = { ...LIMITS, ...attempt.limits };
  const intake = await Upload.begin(
    {
      store: attempt.into ?? store,
      limits,
      checkRoom: attempt.checkRoom ?? (async () => {}),
    },
    null,
  );
  if (!(intake instanceof Upload)) throw new Error('no key was given');
  try {
    const isText = typeof source === 'string' || Buffer.isBuffer(source);
    await intake.receive(isText ? piecesOf(source) : source);
    return await intake.commit({ options: { ...options, ...attempt.options }, metadata: null, given: {} });
  } catch (error) {
    await intake.abandon();
    throw error;
  }
}

/** All lines of a batch, as whoever claims it sees them. */
async function claimedLines(id: string): Promise<OpenLine[]> {
  const lines: OpenLine[] = [];
  for (let claimed = await store.claimChunk(id); claimed; claimed = await store.claimChunk(id)) {
    lines.push(...openLinesOf(claimed, options));
  }
  return lines;
}

const inShort = (lines: readonly OpenLine[]) =>
  lines.map((open) => [
    open.line,
    ...(open.kind === 'good' ? [open.parsed.customId] : [open.bad.code, open.bad.customId]),
  ]);

/** Batches, and uploads that are none yet: what a failed upload must not leave. */
const traces = async () => (await store.listBatches({ after: null, limit: 1000 })).batches.length;

t.test('every line comes out again under its number, good or bad', async (t) => {
  const text = [
    line('a'),
    '',
    '{"custom_id":"b"',
    line('a'),
    '   \t',
    '{"custom_id":"c","query":7}',
    `${line('d')}\r`,
    'x'.repeat(200),
    line('e'),
  ].join('\n');
  const batch = await upload(text, { limits: { maxLineBytes: 100 } });
  t.match(batch, { status: 'in_progress', total: 7, inputBytes: Buffer.byteLength(text) });
  t.same(inShort(await claimedLines(batch.id)), [
    [1, 'a'],
    [3, 'line_not_json', null],
    [4, 'duplicate_custom_id', 'a'],
    [6, 'invalid_field', 'c'],
    [7, 'd'],
    [8, 'line_too_long', null],
    [9, 'e'],
  ]);
});

t.test('so it does for any mixture of lines in pieces of any size', async () => {
  const kinds = fc.constantFrom('good', 'good', 'good', 'same', 'blank', 'broken', 'long', 'crlf');
  await fc.assert(
    fc.asyncProperty(
      fc.array(kinds, { minLength: 1, maxLength: 600 }),
      fc.integer({ min: 1, max: 400 }),
      fc.boolean(),
      async (sequence, pieceBytes, isLastEnded) => {
        const expected: (readonly unknown[])[] = [[1, 'first']];
        let hasSame = false;
        const lines = sequence.map((kind, index) => {
          const number = index + 2;
          if (kind === 'blank') return '';
          if (kind === 'broken') {
            expected.push([number, 'line_not_json', null]);
            return '{"custom_id"';
          }
          if (kind === 'long') {
            expected.push([number, 'line_too_long', null]);
            return line(`q${number}`, { metadata: 'x'.repeat(300) });
          }
          if (kind === 'same') {
            expected.push(hasSame ? [number, 'duplicate_custom_id', 'same'] : [number, 'same']);
            hasSame = true;
            return line('same');
          }
          expected.push([number, `q${number}`]);
          return kind === 'crlf' ? `${line(`q${number}`)}\r` : line(`q${number}`);
        });
        const text = [line('first'), ...lines].join('\n') + (isLastEnded ? '\n' : '');
        const batch = await upload(piecesOf(Buffer.from(text), pieceBytes), {
          limits: { maxLineBytes: 200 },
        });
        assert.equal(batch.total, expected.length);
        assert.deepEqual(inShort(await claimedLines(batch.id)), expected);
      },
    ),
    { numRuns: 15 },
  );
});

t.test('a duplicate names its own line and the one that was first', async (t) => {
  const text = [line('a'), line('b'), line('a'), line('b'), line('a')].join('\n');
  await t.rejects(upload(text, { options: { onInvalid: 'reject' } }), {
    code: 'invalid_lines',
    status: 422,
    lines: [
      { line: 3, code: 'duplicate_custom_id', message: /"a".*line 1\b/ },
      { line: 4, code: 'duplicate_custom_id', message: /"b".*line 2\b/ },
      { line: 5, code: 'duplicate_custom_id', message: /"a".*line 1\b/ },
    ],
  });
});

t.test('a bad line does not take its custom_id from a good one', async (t) => {
  const batch = await upload('{"custom_id":"a"}\n{"custom_id":"a","query":"why?"}');
  t.same(inShort(await claimedLines(batch.id)), [
    [1, 'missing_field', 'a'],
    [2, 'a'],
  ]);
});

t.test('an upload without one line that can be run is refused, whatever on_invalid says', async (t) => {
  const before = await traces();
  const lines = Array.from({ length: 150 }, (_, index) => `no ${index}`).join('\n');
  const error = await upload(lines).catch((failure) => failure);
  t.match(error, { code: 'invalid_lines', message: /None of the 150 lines/ });
  t.equal(error.lines.length, 100, 'lists the first hundred');
  t.same([error.lines[0].line, error.lines[99].line], [1, 100]);
  t.equal(await traces(), before);
});

t.test('with on_invalid=reject one bad line refuses all, and says how many there are', async (t) => {
  const before = await traces();
  await t.rejects(upload(`${line('a')}\nno\n${line('b')}`, { options: { onInvalid: 'reject' } }), {
    code: 'invalid_lines',
    message: /^1 of the 3 lines/,
    lines: [{ line: 2, code: 'line_not_json' }],
  });
  t.equal(await traces(), before);
  t.match(await upload(`${line('a')}\n\n`, { options: { onInvalid: 'reject' } }), { total: 1 });
});

t.test('an upload without a line is refused', async (t) => {
  for (const text of ['', '\n', '\r\n \n\t\r\n']) {
    await t.rejects(upload(text), { code: 'empty_upload', status: 422 }, JSON.stringify(text));
  }
});

t.test('limits hold to the byte and to the line, and what was over them leaves nothing', async (t) => {
  const text = [line('a'), '', line('b')].join('\n');
  const maxBatchBytes = Buffer.byteLength(text);
  t.match(await upload(text, { limits: { maxBatchBytes, maxBatchLines: 2 } }), { total: 2 });
  const before = await traces();
  const over = { code: 'too_large', status: 413 };
  await t.rejects(upload(text, { limits: { maxBatchBytes: maxBatchBytes - 1 } }), over);
  await t.rejects(upload(text, { limits: { maxBatchLines: 1 } }), over);
  t.equal(await traces(), before);
});

t.test('stops reading at the limit', async (t) => {
  let pieces = 0;
  async function* endless() {
    for (;;) {
      pieces += 1;
      yield Buffer.from(`${line(`q${pieces}`)}\n`);
    }
  }
  await t.rejects(upload(endless(), { limits: { maxBatchLines: 1000 } }), { code: 'too_large' });
  t.equal(pieces, 1001);
});

t.test('a source that breaks off leaves nothing, however much has been stored', async (t) => {
  const before = await traces();
  let id = '';
  const watching = altered(store, {
    beginUpload(uploadId) {
      id = uploadId;
      return store.beginUpload(uploadId, null);
    },
  });
  async function* breaking() {
    for (let index = 0; index < 2000; index += 1) yield Buffer.from(`${line(`q${index}`)}\n`);
    throw new Error('connection reset');
  }
  await t.rejects(upload(breaking(), { into: watching }), { message: 'connection reset' });
  t.equal(await traces(), before);
  t.equal(await store.claimChunk(id), null);
  await t.rejects(store.commitUpload(id, { options, metadata: null, inputBytes: 1, requestHash: null }), {
    code: 'upload_incomplete',
  });
});

t.test('a disk that fails on the way fails the upload, at its last chunk too', async (t) => {
  const lines = Array.from({ length: 3000 }, (_, index) => line(`q${index}`)).join('\n');
  const before = await traces();
  for (const broken of [0, 3, Math.floor(3000 / 256)]) {
    const failing = altered(store, {
      async appendChunk(id, chunk) {
        if (chunk.number !== broken) return store.appendChunk(id, chunk);
        for (let turns = 0; turns < 50; turns += 1) await new Promise(setImmediate);
        throw new Error('disk full');
      },
    });
    await t.rejects(upload(lines, { into: failing }), { message: 'disk full' }, `chunk ${broken}`);
  }
  t.equal(await traces(), before);
});

t.test('keeps few chunks on their way to the disk', async (t) => {
  let writing = 0;
  let most = 0;
  const slow = altered(store, {
    async appendChunk(id, chunk) {
      writing += 1;
      most = Math.max(most, writing);
      await store.appendChunk(id, chunk);
      writing -= 1;
    },
  });
  const lines = Array.from({ length: 256 * 20 }, (_, index) => line(`q${index}`)).join('\n');
  const batch = await upload(lines, { into: slow });
  t.equal(batch.total, 256 * 20);
  t.equal(writing, 0, 'all of them are on the disk at the commit');
  t.ok(most <= 4, `${most} at a time`);
});

t.test('lets others have their turn while it reads, however much lies ready at once', async (t) => {
  let turns = 0;
  let isReading = true;
  const count = () => {
    turns += 1;
    if (isReading) setImmediate(count);
  };
  setImmediate(count);
  // Bad lines are the dearest of all.
  const lines = `${line('a')}\n${'{"custom_id":1}\n'.repeat(9_000)}`;
  await upload(piecesOf(lines, lines.length));
  isReading = false;
  t.ok(turns > 9_000 / 256, `${turns} turns`);
});
