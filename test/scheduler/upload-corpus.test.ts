// The corpus of malformed and awkward uploads: each line is taken or refused by itself, under its number.

import t from 'tap';
import { type OpenLine, openLinesOf } from '../../src/scheduler/claimed-lines.ts';
import type { UploadLimits } from '../../src/scheduler/line-intake.ts';
import { LineSplitter } from '../../src/scheduler/line-splitter.ts';
import { Upload } from '../../src/scheduler/upload.ts';
import { options } from '../fakes/batch-fixtures.ts';
import { scratchStore } from '../fakes/scratch-store.ts';

const MEBIBYTE = 2 ** 20;
const LIMITS: UploadLimits = { maxBatchLines: 100_000, maxBatchBytes: 2 ** 30, maxLineBytes: MEBIBYTE };
const store = await scratchStore(t);

async function* piecesOf(bytes: Buffer, pieceBytes = 64 * 1024): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += pieceBytes) {
    yield bytes.subarray(start, start + pieceBytes);
  }
}

async function upload(
  source: string | Buffer | AsyncIterable<Buffer>,
  attempt: { limits?: Partial<UploadLimits>; pieceBytes?: number } = {},
) {
  const limits = { ...LIMITS, ...attempt.limits };
  const intake = await Upload.begin({ store, limits, checkRoom: async () => {} }, null);
  if (!(intake instanceof Upload)) throw new Error('no key was given');
  try {
    const isWhole = typeof source === 'string' || Buffer.isBuffer(source);
    await intake.receive(isWhole ? piecesOf(Buffer.from(source), attempt.pieceBytes) : source);
    return await intake.commit({ options, metadata: null, given: {} });
  } catch (error) {
    await intake.abandon();
    throw error;
  }
}

async function linesOf(id: string): Promise<OpenLine[]> {
  const lines: OpenLine[] = [];
  for (let claimed = await store.claimChunk(id); claimed; claimed = await store.claimChunk(id)) {
    lines.push(...openLinesOf(claimed, options));
  }
  return lines;
}

const good = (id: string) => `{"custom_id":${JSON.stringify(id)},"query":"why?"}`;
const utf16 = (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le');

/** What becomes of one line among good ones. */
async function outcomeOf(line: string | Buffer, pieceBytes?: number): Promise<string> {
  const bytes = Buffer.concat([Buffer.from(`${good('before')}\n`), Buffer.from(line), Buffer.from('\n')]);
  const whole = Buffer.concat([bytes, Buffer.from(good('after'))]);
  const batch = await upload(whole, pieceBytes === undefined ? {} : { pieceBytes });
  const lines = await linesOf(batch.id);
  t.equal(lines.length, 3);
  t.same([lines[0]?.line, lines[0]?.kind, lines[2]?.line, lines[2]?.kind], [1, 'good', 3, 'good']);
  const middle = lines[1];
  return middle?.kind === 'bad' ? middle.bad.code : `good ${middle?.parsed.customId}`;
}

t.test('files without a line', async (t) => {
  for (const text of ['', '\n', '\n\n\n\r\n', ' \n\t']) {
    await t.rejects(upload(text), { code: 'empty_upload' }, JSON.stringify(text));
  }
});

t.test('ends of lines and marks of encodings', async (t) => {
  for (const [text, total] of [
    [good('a'), 1],
    [`${good('a')}\n`, 1],
    [`${good('a')}\r\n${good('b')}\r\n`, 2],
    [`\ufeff${good('a')}\n${good('b')}`, 2],
  ] as const) {
    const batch = await upload(text);
    const lines = await linesOf(batch.id);
    t.equal(batch.total, total);
    t.ok(lines.every(({ kind }) => kind === 'good'));
  }
  await t.rejects(upload(utf16(`${good('a')}\n${good('b')}`)), { code: 'invalid_lines', message: /None/ });
});

t.test('bytes that are no text', async (t) => {
  const within = (...bytes: number[]) =>
    Buffer.concat([Buffer.from('{"custom_id":"x","query":"a'), Buffer.from(bytes), Buffer.from('b"}')]);
  const cases: [Buffer, string][] = [
    [within(0xff), 'line_not_utf8'],
    [within(0xc0, 0xaf), 'line_not_utf8'],
    [within(0xed, 0xa0, 0x80), 'line_not_utf8'],
    [within(0xe2, 0x82), 'line_not_utf8'],
    [within(0xf5, 0x80, 0x80, 0x80), 'line_not_utf8'],
    [within(0x00), 'line_not_json'],
    [Buffer.alloc(10), 'line_not_json'],
    [within(0xe2, 0x82, 0xac), 'good x'],
    [within(0xf0, 0x9f, 0x98, 0x80), 'good x'],
  ];
  for (const [line, outcome] of cases) {
    t.equal(await outcomeOf(line), outcome);
    t.equal(await outcomeOf(line, 1), outcome, 'a character cut by pieces is the same');
  }
});

t.test('lines up to the limit, one byte over it, and far over it', async (t) => {
  const padded = (length: number) => {
    const [head, tail] = ['{"custom_id":"x","query":"', '"}'];
    return `${head}${'y'.repeat(length - head.length - tail.length)}${tail}`;
  };
  t.equal(await outcomeOf(padded(MEBIBYTE)), 'good x');
  t.equal(await outcomeOf(padded(MEBIBYTE + 1)), 'line_too_long');
  t.equal(await outcomeOf(padded(64 * MEBIBYTE)), 'line_too_long');
});

t.test('64 MiB without a newline cost no memory', async (t) => {
  async function* endless() {
    yield Buffer.from(`${good('a')}\n`);
    for (let count = 0; count < 1024; count += 1) yield Buffer.alloc(64 * 1024, 'x');
  }
  const before = process.memoryUsage().rss;
  const batch = await upload(endless());
  t.equal(batch.total, 2);
  t.ok(process.memoryUsage().rss - before < 100 * MEBIBYTE);
});

t.test('a long line in pieces of one byte costs little more than its bytes', async (t) => {
  const splitter = new LineSplitter(MEBIBYTE);
  const byte = Buffer.from('x');
  const before = process.memoryUsage().heapUsed;
  for (let count = 0; count < MEBIBYTE; count += 1)
    for (const _ of splitter.push(byte)) t.fail('no line ends');
  // A list of the pieces would be ten times this.
  t.ok(process.memoryUsage().heapUsed - before < 60 * MEBIBYTE);
  t.same(
    [...splitter.end()].map(({ bytes }) => bytes?.length),
    [MEBIBYTE],
  );
});

t.test('deep, wide and strange values', async (t) => {
  const withValue = (json: string) => `{"custom_id":"x","query":"why?","metadata":${json}}`;
  const keys = Array.from({ length: 60_000 }, (_, index) => `"k${index}":1`).join(',');
  const cases: [string, string][] = [
    [withValue('['.repeat(50_000) + ']'.repeat(50_000)), 'invalid_field'],
    [withValue(`${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`), 'invalid_field'],
    ['['.repeat(100_000), 'line_not_json'],
    [withValue(`{${keys}}`), 'good x'],
    ['{"custom_id":"y","custom_id":"x","query":"why?"}', 'good x'],
    [withValue('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'), 'good x'],
    ['{"custom_id":"x","query":"why?","__proto__":{"polluted":1}}', 'good x'],
    [withValue('[1e400,-0,9007199254740993]'), 'good x'],
    ['{"custom_id":"x","query":"why?","temperature":1e400}', 'invalid_field'],
    ['{"custom_id":"x","query":"why?","max_tokens":-0}', 'invalid_field'],
    ['{"custom_id":"x","query":"why?","top_k":9007199254740993}', 'invalid_field'],
    ['[1]', 'line_not_object'],
    ['"text"', 'line_not_object'],
    ['7', 'line_not_object'],
    ['null', 'line_not_object'],
    [`${good('x')} trailing`, 'line_not_json'],
    [`${good('x')}${good('y')}`, 'line_not_json'],
    ['{"custom_id":"x","query":"why?","surprise":{"a":[]}}', 'good x'],
    ['{"custom_id":"x","query":"why?","model":"no-such-model"}', 'good x'],
  ];
  for (const [line, outcome] of cases) t.equal(await outcomeOf(line), outcome, line.slice(0, 60));
  t.equal(({} as Record<string, unknown>).polluted, undefined, 'nothing reaches the prototypes');
});

t.test('OpenAI lines that cannot be run', async (t) => {
  const chat = (body: string) =>
    `{"custom_id":"x","method":"POST","url":"/v1/chat/completions","body":${body}}`;
  const messages = '"messages":[{"role":"user","content":"why?"}]';
  t.equal(await outcomeOf(chat(`{${messages}}`)), 'good x');
  t.equal(await outcomeOf(chat(`{${messages},"model":"a"}`)), 'good x');
  t.equal(await outcomeOf(chat(`{${messages},"stream":true}`)), 'invalid_field');
  t.equal(await outcomeOf(chat('{"messages":[]}')), 'invalid_field');
  t.equal(await outcomeOf(chat('{}')), 'missing_field');
});

t.test('ids of every kind', async (t) => {
  const kind = (json: string) => `{"custom_id":${json},"query":"why?"}`;
  t.equal(await outcomeOf('{"query":"why?"}'), 'missing_field');
  for (const json of ['""', '7', 'null', '["x"]', `"${'x'.repeat(257)}"`, `"${'x'.repeat(3000)}"`]) {
    t.equal(await outcomeOf(kind(json)), 'invalid_field', json.slice(0, 20));
  }
  const ids = ['a/b', '..', 'line\nbreak', '\u202eright to left', '😀', 'x'.repeat(256), '__proto__', '\0'];
  for (const id of ids) t.equal(await outcomeOf(good(id)), `good ${id}`);
});

t.test('ids that look alike are different ones, ids that are the same name both their lines', async (t) => {
  const [composed, decomposed] = ['caf\u00e9', 'cafe\u0301'];
  const batch = await upload([good(composed), good(decomposed), good(composed)].join('\n'));
  const lines = await linesOf(batch.id);
  t.same(
    lines.map(({ kind }) => kind),
    ['good', 'good', 'bad'],
  );
  t.match(lines[2], { line: 3, bad: { code: 'duplicate_custom_id', message: /line 1\b/ } });
});

t.test('more than fifty thousand lines, one line too many, one byte too many', async (t) => {
  const count = 50_001;
  const text = Array.from({ length: count }, (_, index) => good(`q${index}`)).join('\n');
  t.match(await upload(text), { total: count });
  await t.rejects(upload(text, { limits: { maxBatchLines: count - 1 } }), { code: 'too_large' });
  const maxBatchBytes = Buffer.byteLength(text) - 1;
  await t.rejects(upload(text, { limits: { maxBatchBytes } }), { code: 'too_large' });
});
