// Unpacking: what was packed comes out again, however it is cut; what cannot be unpacked says so; bombs do not go off.

import assert from 'node:assert/strict';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { decoded } from '../../src/routes/upload-decoder.ts';
import { namedEncoding, type UploadEncoding } from '../../src/routes/upload-encoding.ts';

const pack = { gzip: gzipSync, zstd: zstdCompressSync };
const ENCODINGS = ['gzip', 'zstd'] as const;
const text = Buffer.from('{"custom_id":"q1","query":"why?"}\n'.repeat(500));
const junk = Buffer.from('junk!!');

async function* cut(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Buffer> {
  let start = 0;
  for (const end of [...cuts].sort((a, b) => a - b)) {
    if (end <= start || end >= bytes.length) continue;
    yield bytes.subarray(start, end);
    start = end;
  }
  if (start < bytes.length) yield bytes.subarray(start);
}

async function unpack(source: AsyncIterable<Buffer>, named: UploadEncoding | null = null): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(decoded(source, named)));
}

t.test('any frames one behind the other come out again, in pieces of any size', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...ENCODINGS),
      fc.boolean(),
      fc.array(fc.integer({ min: 0, max: 100_000 }), { minLength: 1, maxLength: 5 }),
      fc.array(fc.nat(2000), { maxLength: 30 }),
      async (encoding, isNamed, sizes, cuts) => {
        const parts = sizes.map((size, index) => Buffer.alloc(size, `{"line":${index}}`));
        const packed = Buffer.concat(parts.map((part) => pack[encoding](part)));
        const plain = await unpack(cut(packed, cuts), isNamed ? encoding : null);
        assert.deepEqual(plain, Buffer.concat(parts));
      },
    ),
  );
});

t.test('what is not packed passes untouched, however short its pieces are', async (t) => {
  t.same(await unpack(cut(text, [1, 2, 3, 100])), text);
  t.same(await unpack(cut(Buffer.from('{'), [])), Buffer.from('{'));
  t.same(await unpack(cut(Buffer.alloc(0), [])), Buffer.alloc(0));
  t.same(await unpack(cut(Buffer.alloc(0), []), 'gzip'), Buffer.alloc(0), 'no body is no broken body');
});

t.test('a zstd file may begin with a skippable frame', async (t) => {
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
  const packed = Buffer.concat([skippable, zstdCompressSync(text), skippable, zstdCompressSync(text)]);
  for (const cuts of [[], [5], [12], [13, 30]]) {
    t.same(await unpack(cut(packed, cuts)), Buffer.concat([text, text]), `cut at ${cuts}`);
  }
});

for (const encoding of ENCODINGS) {
  const packed = pack[encoding](text);
  const broken = { code: 'invalid_encoding', status: 400, message: new RegExp(encoding) };

  t.test(`${encoding}: cut off anywhere it is an error`, async (t) => {
    for (let length = 4; length < packed.length; length += 1) {
      await t.rejects(unpack(cut(packed.subarray(0, length), [4])), broken, `${length} bytes`);
    }
  });

  t.test(`${encoding}: anything behind its end is an error`, async (t) => {
    for (const behind of [junk, Buffer.alloc(8), Buffer.from('\0junk'), text, packed.subarray(0, 3)]) {
      const bytes = Buffer.concat([packed, behind]);
      for (const cuts of [[], [packed.length], [packed.length - 1, packed.length + 1]]) {
        await t.rejects(unpack(cut(bytes, cuts)), broken);
      }
    }
  });

  t.test(`${encoding}: what is something else is an error, and so is a wrong checksum`, async (t) => {
    await t.rejects(unpack(cut(text, []), encoding), broken);
    const params = { [constants.ZSTD_c_checksumFlag]: 1 };
    const checked = encoding === 'gzip' ? gzipSync(text) : zstdCompressSync(text, { params });
    const at = encoding === 'gzip' ? checked.length - 6 : checked.length - 2;
    checked[at] = (checked[at] ?? 0) ^ 1;
    await t.rejects(unpack(cut(checked, [])), broken);
  });

  t.test(`${encoding}: packed twice is refused`, async (t) => {
    for (const outer of ENCODINGS) {
      await t.rejects(unpack(cut(pack[outer](packed), [])), {
        code: 'unsupported_media_type',
        message: /twice/,
      });
    }
  });

  t.test(`${encoding}: a bomb does not go off`, async (t) => {
    const mebibyte = Buffer.alloc(2 ** 20);
    let unpacked = 0;
    const bomb = async () => {
      for await (const piece of decoded(endless(pack[encoding](mebibyte)), null)) unpacked += piece.length;
    };
    await t.rejects(bomb, { code: 'compression_bomb', status: 413 });
    t.ok(unpacked < 70 * 2 ** 20, `stopped after ${unpacked} bytes`);
  });

  t.test(`${encoding}: a source that breaks off breaks off, and is no broken encoding`, async (t) => {
    async function* breaking() {
      yield packed.subarray(0, 20);
      throw new Error('connection reset');
    }
    await t.rejects(unpack(breaking()), { message: 'connection reset' });
  });

  t.test(`${encoding}: whoever stops reading waits for nothing`, async () => {
    async function* stuck() {
      yield Buffer.concat([packed, packed.subarray(0, 10)]);
      await new Promise(() => {});
    }
    for await (const piece of decoded(stuck(), encoding)) if (piece.length > 0) break;
  });
}

async function* endless(piece: Buffer): AsyncGenerator<Buffer> {
  for (;;) yield piece;
}

t.test('many tiny frames are a bomb too', async (t) => {
  const frame = zstdCompressSync(Buffer.from('x'));
  const many = Buffer.concat(Array.from({ length: 10_001 }, () => frame));
  await t.rejects(unpack(cut(many, [])), { code: 'compression_bomb' });
});

t.test('a zstd window over 8 MiB is refused with what to do', async (t) => {
  const params = { [constants.ZSTD_c_windowLog]: 27, [constants.ZSTD_c_contentSizeFlag]: 0 };
  const packed = zstdCompressSync(Buffer.alloc(40 * 2 ** 20, 'abc'), { params });
  await t.rejects(unpack(cut(packed, [])), { code: 'invalid_encoding', message: /--long/ });
});

t.test('encodings are known by their names', async (t) => {
  for (const header of [undefined, '', 'identity', ' Identity ']) t.equal(namedEncoding(header), null);
  for (const header of ['gzip', 'GZIP', 'x-gzip']) t.equal(namedEncoding(header), 'gzip');
  t.equal(namedEncoding('zstd'), 'zstd');
  for (const header of ['deflate', 'br', 'gzip, gzip', 'gzip,zstd', 'gzip;q=1', 'compress', 'x']) {
    t.throws(() => namedEncoding(header), { code: 'unsupported_media_type', status: 415 }, header);
  }
});
