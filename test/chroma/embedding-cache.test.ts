// The cache of embeddings: it gives back exactly what was put in or nothing, stays bounded, and never gets in the way.

import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { probeTexts } from '../../src/chroma/embedder-probe.ts';
import { EmbeddingCache } from '../../src/chroma/embedding-cache.ts';
import { recordingLog } from '../fakes/recording-log.ts';
import { mountSmallDisk, needsSmallDisk } from '../fakes/small-disk.ts';
import { until } from '../fakes/until.ts';

const dimensions = 64;

/** Vectors that depend on the text and on who made them. */
function made(text: string, maker = 1) {
  const vector = Float32Array.from({ length: dimensions }, (_unused, place) =>
    Math.sin(maker * 1000 + place * (1 + text.length) + (text.codePointAt(place % text.length) ?? 0)),
  );
  return { vector, cutTo: null };
}

function probe(maker = 1): Float32Array {
  return Float32Array.from(probeTexts.flatMap((text) => [...made(text, maker).vector]));
}

const numbered = (count: number, name = 'passage') =>
  Array.from({ length: count }, (_unused, index) => `${name} ${index}`);

function cacheOf(t: Test, folder: string = t.testdir(), minFreeBytes = 0) {
  const path = join(folder, 'embeddings.sqlite');
  const { log, lines } = recordingLog();
  const open = () => {
    const cache = new EmbeddingCache({ path, minFreeBytes, log });
    t.teardown(() => cache.close());
    return cache;
  };
  /** A whole build of these texts; answers how many of them were known. */
  const build = async (cache: EmbeddingCache, texts: readonly string[], maker = 1) => {
    const begun = await cache.begin(`embedder-${maker}`, probe(maker));
    const found = await cache.find(begun, texts);
    const missing = texts.filter((_text, index) => found[index] === null);
    await cache.keep(
      begun,
      missing,
      missing.map((text) => made(text, maker)),
    );
    await cache.complete(begun);
    return texts.length - missing.length;
  };
  return { path, lines, open, build };
}

t.test('what was kept is found again, after a restart too, and only for its embedder', async (t) => {
  const { open, build } = cacheOf(t);
  const first = open();
  t.equal(await build(first, numbered(100)), 0);
  t.equal(await build(first, numbered(100)), 100);
  await first.close();
  const second = open();
  const begun = await second.begin('embedder-1', probe());
  const asked = [...numbered(50).toReversed(), 'unknown'];
  t.strictSame(await second.find(begun, asked), [...asked.slice(0, 50).map((text) => made(text)), null]);
  t.equal(await build(second, numbered(100), 2), 0, 'another embedder has made none of it');
  t.strictSame(
    await second.find(begun, ['passage 1']),
    [made('passage 1')],
    'and does not disturb the first',
  );
});

t.test('how much of a text was embedded is kept too', async (t) => {
  const cache = cacheOf(t).open();
  const begun = await cache.begin('embedder', probe());
  await cache.keep(begun, ['long'], [{ ...made('long'), cutTo: 2 }]);
  t.match(await cache.find(begun, ['long']), [{ cutTo: 2 }]);
});

t.test('a changed number on the disk is a miss', async (t) => {
  const { path, open, build } = cacheOf(t);
  const first = open();
  await build(first, numbered(10));
  await first.close();
  const database = new DatabaseSync(path);
  const { vector } = database.prepare('SELECT vector FROM vectors WHERE id = 3').get() as {
    vector: Uint8Array;
  };
  vector[5] = (vector[5] ?? 0) ^ 1;
  database.prepare('UPDATE vectors SET vector = ? WHERE id = 3').run(vector);
  database.close();
  t.equal(await build(open(), numbered(10)), 9);
});

t.test('a file that is none, or of another version, is thrown away and begun anew', async (t) => {
  for (const spoil of [
    (path: string) =>
      writeFileSync(path, 'this is no database, but it is long enough to be read as one'.repeat(99)),
    (path: string) => {
      const database = new DatabaseSync(path);
      database.exec('PRAGMA user_version = 99');
      database.close();
    },
  ]) {
    const { path, open, build, lines } = cacheOf(t, join(t.testdir(), '.'));
    const first = open();
    await build(first, numbered(10));
    await first.close();
    spoil(path);
    const second = open();
    t.equal(await build(second, numbered(10)), 0);
    t.equal(await build(second, numbered(10)), 10);
    t.match(lines, [{ level: 40, reason: /thrown away/ }]);
    await second.close();
  }
});

t.test('whatever is damaged within the file, nothing wrong comes out of it', async (t) => {
  const { path, open, build } = cacheOf(t);
  const first = open();
  await build(first, numbered(2_000));
  await first.close();
  const whole = readFileSync(path);
  for (let seed = 1; seed <= 8; seed++) {
    const bytes = Buffer.from(whole);
    const at = Math.floor((bytes.length * seed) / 9);
    bytes.fill(seed * 31, at, at + 40_000);
    writeFileSync(path, bytes);
    const cache = open();
    const begun = await cache.begin('embedder-1', probe());
    const texts = numbered(2_000);
    for (const [index, found] of (await cache.find(begun, texts)).entries()) {
      if (found !== null) t.strictSame(found, made(texts[index] ?? ''));
    }
    await build(cache, texts);
    await cache.close();
    for (const end of ['-wal', '-shm']) rmSync(`${path}${end}`, { force: true });
  }
});

t.test('a file that goes while it is used does no harm', async (t) => {
  const { path, open, build } = cacheOf(t);
  const cache = open();
  await build(cache, numbered(10));
  for (const end of ['', '-wal', '-shm']) rmSync(`${path}${end}`, { force: true });
  await build(cache, numbered(20));
  await cache.close();
  await build(open(), numbered(20));
  t.ok(existsSync(path));
});

t.test('a place where there can be no file is a cache that knows nothing', async (t) => {
  const { path, open, build, lines } = cacheOf(t);
  mkdirSync(path);
  const cache = open();
  t.equal(await build(cache, numbered(10)), 0);
  t.equal(await build(cache, numbered(10)), 0);
  t.ok(lines.length > 0 && lines.every(({ level }) => level === 40));
});

t.test('on a full disk a build goes on without', needsSmallDisk, async (t) => {
  const disk = mountSmallDisk(t, 'size=1m');
  const { open, build, lines } = cacheOf(t, disk);
  const cache = open();
  await build(cache, numbered(10));
  for (let part = 0; part < 30; part++) await build(cache, numbered(500, `part ${part}`));
  t.ok(lines.length > 0, 'it is said');
  const begun = await cache.begin('embedder-1', probe());
  for (const found of await cache.find(begun, ['part 29 1']))
    if (found) t.strictSame(found, made('part 29 1'));
  await cache.close();
});

t.test('the disk that is reserved for results is left to them', async (t) => {
  const { open, build, lines } = cacheOf(t, t.testdir(), Number.MAX_SAFE_INTEGER);
  const cache = open();
  t.equal(await build(cache, numbered(10)), 0);
  t.equal(await build(cache, numbered(10)), 0);
  t.match(lines, [{ reason: /nearly full/ }, { reason: /nearly full/ }], 'said once a build');
});

t.test('what the last two complete builds have not used is dropped, and its disk given back', async (t) => {
  const { path, open, build } = cacheOf(t);
  const cache = open();
  await build(cache, numbered(20_000, 'large corpus'));
  await build(cache, numbered(10, 'small corpus'));
  t.equal(await build(cache, numbered(20_000, 'large corpus')), 20_000, 'going back costs nothing');
  await build(cache, numbered(10, 'small corpus'));
  const sizeBefore = statSync(path).size;
  await build(cache, numbered(10, 'small corpus'));
  await build(cache, numbered(10, 'small corpus'));
  await until('the disk to come back', () => statSync(path).size < sizeBefore / 10);
  await cache.close();
});

t.test('builds that never ended drop nothing', async (t) => {
  const { open, build } = cacheOf(t);
  for (let killed = 0; killed < 4; killed++) {
    const cache = open();
    if (killed === 0) await build(cache, numbered(50));
    const begun = await cache.begin('embedder-1', probe());
    await cache.find(begun, ['passage 1']);
    await cache.close();
  }
  t.equal(await build(open(), numbered(50)), 50);
});

t.test('property: what is found is what was kept, and what recent builds used is found', async (t) => {
  const text = fc.integer({ min: 0, max: 12 }).map((index) => `text ${index}`);
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('build' as const),
      maker: fc.integer({ min: 1, max: 2 }),
      texts: fc.uniqueArray(text),
    }),
    fc.record({
      kind: fc.constant('killed' as const),
      maker: fc.integer({ min: 1, max: 2 }),
      texts: fc.uniqueArray(text),
    }),
    fc.constant({ kind: 'restart' as const }),
  );
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const folder = join(t.testdirName, `run-${runs++}`);
      mkdirSync(folder, { recursive: true });
      const { open } = cacheOf(t, folder);
      let cache = open();
      const complete: Set<string>[] = [];
      for (const next of steps) {
        if (next.kind === 'restart') {
          await cache.close();
          cache = open();
          continue;
        }
        const { maker, texts } = next;
        const begun = await cache.begin(`embedder-${maker}`, probe(maker));
        for (const [index, found] of (await cache.find(begun, texts)).entries()) {
          const asked = texts[index] ?? '';
          if (found !== null) t.strictSame(found, made(asked, maker));
          else if (complete.slice(-2).some((used) => used.has(`${maker} ${asked}`)))
            t.fail(`forgot ${asked}`);
        }
        await cache.keep(
          begun,
          texts,
          texts.map((asked) => made(asked, maker)),
        );
        if (next.kind === 'killed') continue;
        await cache.complete(begun);
        complete.push(new Set(texts.map((asked) => `${maker} ${asked}`)));
      }
      await cache.close();
    }),
    { numRuns: 40 },
  );
});
