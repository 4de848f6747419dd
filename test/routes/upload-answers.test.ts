// What POST /batches takes, what it refuses and how: encodings, limits, dry runs and idempotency keys.

import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import t from 'tap';
import { UploadAdmission } from '../../src/routes/upload-admission.ts';
import { checkUploadRoom } from '../../src/scheduler/upload-room.ts';
import { startIntake } from '../fakes/intake-server.ts';
import { questions } from '../fakes/running-service.ts';
import { altered, scratchStore } from '../fakes/scratch-store.ts';
import { until } from '../fakes/until.ts';

const server = await startIntake(t);
const good = questions(3);
const packings = { gzip: gzipSync(good), zstd: zstdCompressSync(good) };

function formOf(
  file: string | Uint8Array<ArrayBuffer>,
  fields: Record<string, string> = {},
  isFileFirst = false,
): FormData {
  const form = new FormData();
  if (isFileFirst) form.append('file', new Blob([file]), 'questions');
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  if (!isFileFirst) form.append('file', new Blob([file]), 'questions');
  return form;
}

t.test('a compressed file is taken: by its encoding, by its first bytes, in a form', async (t) => {
  for (const [encoding, packed] of Object.entries(packings)) {
    const body = new Uint8Array(packed);
    for (const answer of [
      await server.post(body, { 'content-encoding': encoding }),
      await server.post(body),
      await server.post(formOf(body)),
    ]) {
      t.equal(answer.status, 201, encoding);
      t.match(answer.body, { request_counts: { total: 3 } });
      const batch = await server.store.getBatch(answer.body.id);
      t.equal(batch?.inputBytes, Buffer.byteLength(good), 'bytes are counted as they were');
    }
  }
});

t.test('other encodings, doubled ones and packed forms are refused with what to do', async (t) => {
  const before = await server.stored();
  const gz = new Uint8Array(packings.gzip);
  const cases: [Promise<Awaited<ReturnType<typeof server.post>>>, RegExp][] = [
    [server.post(new Uint8Array(deflateSync(good)), { 'content-encoding': 'deflate' }), /"deflate"/],
    [server.post(new Uint8Array(brotliCompressSync(good)), { 'content-encoding': 'br' }), /"br"/],
    [server.post(new Uint8Array(gzipSync(gz)), { 'content-encoding': 'gzip, gzip' }), /once/],
    [server.post(new Uint8Array(gzipSync(gz)), { 'content-encoding': 'gzip' }), /twice/],
    [server.post(new Uint8Array(gzipSync(zstdCompressSync(good)))), /twice/],
    [server.post(formOf(good), { 'content-encoding': 'gzip' }), /compress the file in it/],
  ];
  for (const [answering, words] of cases) {
    const { status, headers, body } = await answering;
    t.equal(status, 415);
    t.match(body, { code: 'unsupported_media_type', detail: words });
    t.equal(headers.get('accept-encoding'), 'gzip, zstd');
  }
  t.equal(await server.stored(), before);
});

t.test('a body that is not what it says is the client’s mistake', async (t) => {
  const before = await server.stored();
  const gz = packings.gzip;
  const bodies = [Buffer.from(good), gz.subarray(0, -6), Buffer.concat([gz, Buffer.from('more')])];
  for (const body of bodies) {
    const answer = await server.post(new Uint8Array(body), { 'content-encoding': 'gzip' });
    t.equal(answer.status, 400);
    t.equal(answer.body.code, 'invalid_encoding');
  }
  t.equal(await server.stored(), before);
});

t.test('bombs: memory stays where it is, nothing is stored', async (t) => {
  const before = await server.stored();
  const mebibyte = Buffer.alloc(2 ** 20, 0x20);
  const residentBefore = process.memoryUsage().rss;
  for (const packed of [gzipSync(mebibyte), zstdCompressSync(mebibyte)]) {
    // 10 GiB, if anybody unpacked it.
    const body = new ReadableStream({
      type: 'bytes',
      async start(controller) {
        for (let count = 0; count < 10_240; count += 1) controller.enqueue(new Uint8Array(packed));
        controller.close();
      },
    });
    const answer = await server.post(body);
    t.equal(answer.status, 413);
    t.equal(answer.body.code, 'compression_bomb');
  }
  const grown = (process.memoryUsage().rss - residentBefore) / 2 ** 20;
  t.ok(grown < 200, `${Math.round(grown)} MiB more`);
  t.equal(await server.stored(), before);
});

t.test('limits hold for what is unpacked', async (t) => {
  const limits = { maxBatchLines: 10, maxBatchBytes: 1000, maxLineBytes: 500 };
  const small = await startIntake(t, { uploadLimits: limits });
  const long = gzipSync('x'.repeat(2000));
  const answers = [
    await small.post(new Uint8Array(long), { 'content-encoding': 'gzip' }),
    await small.post(formOf(new Uint8Array(long))),
    await small.post(questions(11)),
  ];
  for (const { status, body } of answers)
    t.match({ status, code: body.code }, { status: 413, code: 'too_large' });
});

t.test('a Content-Length over the limit is refused before anything is sent', async (t) => {
  const socket = await server.connect(
    `content-type: application/jsonl\r\ncontent-length: ${2 ** 32 + 1}\r\n`,
  );
  const [head] = await Promise.all([new Promise((resolve) => socket.once('data', resolve))]);
  t.match(String(head), /^HTTP\/1.1 413 /);
  t.match(String(head), /MAX_BATCH_BYTES/);
});

t.test('only so many uploads at a time; a place is free again when one ends, well or badly', async (t) => {
  const narrow = await startIntake(t, { uploadAdmission: new UploadAdmission(2) });
  const head = 'content-type: application/jsonl\r\ncontent-length: 100\r\n';
  const [first, second] = [await narrow.connect(head), await narrow.connect(head)];
  await until('both places to be taken', async () => (await narrow.post(good)).status === 429);
  const { headers, body } = await narrow.post(good);
  t.match(body, { code: 'too_many_uploads', detail: /MAX_CONCURRENT_UPLOADS/ });
  t.ok(Number(headers.get('retry-after')) > 0);
  first?.destroy();
  await until('a free place', async () => (await narrow.post(good)).status === 201);
  second?.destroy();
});

t.test('no room: uploads are refused at their begin and on their way, and leave nothing', async (t) => {
  for (const [code, words] of [
    ['storage_limit', /MAX_STORED_BYTES/],
    ['storage_full', /MIN_FREE_DISK_BYTES/],
  ] as const) {
    let looks = 0;
    let looksUntilFull = 0;
    const isFull = () => {
      looks += 1;
      return looks > looksUntilFull;
    };
    const room = {
      maxStoredBytes: 1000,
      minFreeDiskBytes: 1000,
      storedBytes: async () => (code === 'storage_limit' && isFull() ? 1000 : 999),
      freeDiskBytes: async () => (code === 'storage_full' && isFull() ? 999 : 1000),
    };
    const full = await startIntake(t, { checkUploadRoom: () => checkUploadRoom(room) });
    for (const allowed of [0, 1, 2]) {
      looks = 0;
      looksUntilFull = allowed;
      const { status, headers, body } = await full.post(questions(256 * 20));
      t.equal(status, 507, `after ${allowed} looks`);
      t.match(body, { code, detail: words });
      t.ok(Number(headers.get('retry-after')) > 0);
      t.equal(looks, allowed + 1);
    }
    t.equal(await full.stored(), 0);
    looks = 0;
    looksUntilFull = 1000;
    t.equal((await full.post(good)).status, 201);
  }
});

t.test('0 is no limit and no reserve', async () => {
  const never = () => Promise.reject(new Error('nobody needs to know'));
  await checkUploadRoom({ maxStoredBytes: 0, minFreeDiskBytes: 0, storedBytes: never, freeDiskBytes: never });
});

t.test('a dry run tells what an upload would do, and stores nothing', async (t) => {
  const before = await server.stored();
  const lines = [
    '{"custom_id":"a","query":"why is that?"}',
    'nope',
    '{"custom_id":"b","query":"how?","max_tokens":10,"top_k":1}',
    '{"custom_id":"a","query":"again"}',
  ].join('\n');
  const { status, headers, body } = await server.post(lines, {}, '?dry_run=true&top_k=2&max_tokens=100');
  t.equal(status, 200);
  t.equal(headers.get('location'), null);
  t.match(body, {
    object: 'dry_run',
    would_be_accepted: true,
    lines: { total: 4, valid: 2, invalid: 2 },
    errors: [
      { line: 2, code: 'line_not_json' },
      { line: 4, code: 'duplicate_custom_id' },
    ],
    estimated: { max_completion_tokens: 110, seconds: null },
    options: { top_k: 2, max_tokens: 100 },
  });
  const strict = await server.post(lines, {}, '?dry_run=true&on_invalid=reject');
  t.match(strict, { status: 200, body: { would_be_accepted: false } });
  const empty = await server.post('\n', {}, '?dry_run=true');
  t.match(empty, { status: 200, body: { would_be_accepted: false, lines: { total: 0 } } });
  const packed = await server.post(
    formOf(new Uint8Array(packings.zstd), { top_k: '7' }, true),
    {},
    '?dry_run=true',
  );
  t.match(packed, { status: 200, body: { lines: { valid: 3 }, options: { top_k: 7 } } });
  const field = await server.post(formOf(good, { dry_run: 'true' }));
  t.match(field, { status: 400, body: { code: 'invalid_option', detail: /in the URL/ } });
  t.match(await server.post(good, {}, '?dry_run=false'), { status: 201 });
  t.equal(await server.stored(), before + 1);
});

t.test('the same upload under the same key makes one batch', async (t) => {
  const before = await server.stored();
  const key = { 'idempotency-key': 'k1' };
  const query = '?top_k=2&max_tokens=7&metadata={"a":"b"}';
  const first = await server.post(good, key, query);
  t.equal(first.status, 201);
  t.equal(first.headers.get('idempotency-replayed'), null);
  const fields = { max_tokens: '7', metadata: '{"a":"b"}', top_k: '2' };
  for (const again of [
    await server.post(good, key, query),
    await server.post(good, key, '?max_tokens=7&metadata={"a":"b"}&top_k=2'),
    await server.post(new Uint8Array(packings.gzip), key, query),
    await server.post(formOf(good, fields, true), key),
    await server.post(formOf(good, fields), key),
  ]) {
    t.match(again, { status: 201, body: { id: first.body.id } });
    t.equal(again.headers.get('idempotency-replayed'), 'true');
    t.equal(again.headers.get('location'), first.headers.get('location'));
  }
  for (const other of [
    await server.post(`${good}\n`, key, query),
    await server.post(good, key, '?top_k=2'),
    await server.post(good, key, `${query}&temperature=0`),
    await server.post('nonsense', key, query),
  ]) {
    t.match(other, { status: 422, body: { code: 'idempotency_key_reused' } });
  }
  t.match(await server.post(good, key, `${query}&dry_run=true`), { status: 200 }, 'a dry run needs no key');
  t.equal(await server.stored(), before + 1);
});

t.test('a key is free again when its upload came to nothing', async (t) => {
  const key = { 'idempotency-key': 'k2' };
  t.match(await server.post('nope', key), { status: 422, body: { code: 'invalid_lines' } });
  t.match(await server.post(good, key), { status: 201 });
});

t.test(
  'of many equal uploads under one key at a time one is stored, the others may come again',
  async (t) => {
    const before = await server.stored();
    const key = { 'idempotency-key': 'k3' };
    const answers = await Promise.all(Array.from({ length: 8 }, () => server.post(questions(2000), key)));
    const ids = new Set(answers.filter(({ status }) => status === 201).map(({ body }) => body.id));
    t.equal(ids.size, 1);
    for (const { status, headers, body } of answers) {
      if (status === 201) continue;
      t.match({ status, code: body.code }, { status: 409, code: 'idempotency_key_running' });
      t.ok(Number(headers.get('retry-after')) > 0);
    }
    t.equal(await server.stored(), before + 1);
  },
);

t.test('what the store does not answer after a commit is found again under the key', async (t) => {
  const store = await scratchStore(t);
  let isCut = true;
  const forgetful = altered(store, {
    async commitUpload(id, batch) {
      const stored = await store.commitUpload(id, batch);
      if (isCut) throw new Error('the answer was lost');
      return stored;
    },
  });
  const lossy = await startIntake(t, { store: forgetful });
  const key = { 'idempotency-key': 'k4' };
  t.equal((await lossy.post(good, key)).status, 500);
  isCut = false;
  t.match(await lossy.post(good, key), { status: 201 });
  t.equal(await lossy.stored(), 1);
});

t.test('keys that are none', async (t) => {
  for (const key of ['', 'x'.repeat(256), 'caf\u00e9', 'a\tb']) {
    const answer = await server.post(good, { 'idempotency-key': key });
    t.match(answer, { status: 400, body: { code: 'idempotency_key_invalid' } }, JSON.stringify(key));
  }
  t.match(await server.post(good, { 'idempotency-key': 'x'.repeat(255) }), { status: 201 });
});

t.test('a form with too many fields, or with one that is too long, says so', async (t) => {
  const before = await server.stored();
  const fields = Object.fromEntries(Array.from({ length: 70 }, (_, index) => [`f${index}`, 'x']));
  const many = await server.post(formOf(questions(5000), fields));
  t.match(many, { status: 400, body: { code: 'bad_request', detail: /fields limit/ } });
  const long = await server.post(formOf(good, { system_prompt: 'x'.repeat(300_000) }));
  t.match(long, { status: 400, body: { code: 'invalid_option', detail: /"system_prompt" is too long/ } });
  const prototype = await server.post(formOf(good, { __proto__: 'x', constructor: 'x' }));
  t.match(prototype, { status: 400, body: { code: 'bad_request' } });
  t.equal(await server.stored(), before);
});
