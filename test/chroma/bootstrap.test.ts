// Rank 0's way to READY against a real Chroma: what it builds, what it joins, and what it must never touch.

import { setImmediate as nextTurn } from 'node:timers/promises';
import pino from 'pino';
import t from 'tap';
import { Bootstrap, type BootstrapOptions } from '../../src/chroma/bootstrap.ts';
import { ChromaConnection } from '../../src/chroma/chroma-client.ts';
import { lexicalEmbedding } from '../../src/chroma/lexical-embedding.ts';
import { ownerKey } from '../../src/chroma/ownership.ts';
import type { CorpusChunk } from '../../src/domain/corpus.ts';
import { RagmillError } from '../../src/errors.ts';
import { systemClock } from '../../src/time.ts';
import { faultyProxy } from '../fakes/faulty-proxy.ts';
import { MemoryRankZero } from '../fakes/memory-rank-zero.ts';
import { realChroma, succeeds } from '../fakes/real-chroma.ts';
import { smallCorpus } from '../fakes/small-corpus.ts';
import { until } from '../fakes/until.ts';

const limits = { timeoutMs: 30_000 };
const connection = await realChroma(t);
let nameCount = 0;

function setup(options: Partial<BootstrapOptions> = {}) {
  const world = {
    rankZero: new MemoryRankZero(),
    connection,
    corpus: smallCorpus(),
    embedding: lexicalEmbedding,
    collectionName: `rag-${nameCount++}`,
    resetCollection: 'always' as const,
    timeoutMs: 30_000,
    clock: systemClock,
    log: pino({ level: 'silent' }),
  };
  const start = (changes: Partial<BootstrapOptions> = {}) => {
    const bootstrap = new Bootstrap({ ...world, ...options, ...changes });
    return { bootstrap, ready: bootstrap.run(new AbortController().signal) };
  };
  return { ...world, start };
}

function namesLike(prefix: string): Promise<string[]> {
  return succeeds(
    connection.call(async (client) => {
      const all = await client.listCollections({ limit: 1_000 });
      return all.map(({ name }) => name).filter((name) => name.startsWith(prefix));
    }, limits),
  );
}

t.test('fills a collection from the corpus and records it READY', async (t) => {
  const world = setup({ corpus: smallCorpus(1_203) });
  const { bootstrap, ready } = world.start();
  const seen = new Set<string>();
  const watching = until('ready', () => {
    seen.add(bootstrap.state.phase);
    return bootstrap.state.phase === 'ready';
  });
  const { record, collection } = await ready;
  await watching;
  t.match(record, { generation: 1, name: world.collectionName, count: 1_203 });
  t.equal(collection.uuid, record.uuid);
  t.same(await collection.count(limits), { kind: 'ok', value: 1_203 });
  t.ok(seen.has('filling'), 'progress can be seen');
  t.same(await namesLike(world.collectionName), [world.collectionName], 'nothing is left of the build');
});

t.test('always: every start builds anew and gives a new generation', async (t) => {
  const world = setup();
  const first = await world.start().ready;
  world.corpus.texts.push('A new sentence about obsidian.');
  const second = await world.start().ready;
  t.not(second.record.uuid, first.record.uuid);
  t.not(second.record.fingerprint, first.record.fingerprint);
  t.match(second.record, { generation: 2, count: 6 });
  t.same(await namesLike(world.collectionName), [world.collectionName]);
});

t.test('if-changed: joins what is as it would build it, and rebuilds what is not', async (t) => {
  const world = setup({ resetCollection: 'if-changed' });
  const built = await world.start().ready;
  const joined = await world.start().ready;
  t.same(joined.record, built.record, 'the same generation');
  t.same(await joined.collection.count(limits), { kind: 'ok', value: 5 });

  world.corpus.texts[0] = 'Another sentence.';
  const changed = await world.start().ready;
  t.equal(changed.record.generation, 2, 'another text');

  await succeeds(
    connection.call((client) => client.collection(changed.record.uuid).delete({ ids: ['doc-1#0'] }), limits),
  );
  const repaired = await world.start().ready;
  t.equal(repaired.record.generation, 3, 'another count');

  await succeeds(
    connection.call((client) => client.deleteCollection({ name: world.collectionName }), limits),
  );
  const restored = await world.start().ready;
  t.equal(restored.record.generation, 4, 'no collection');
});

t.test('a collection of somebody else is left exactly as it is', async (t) => {
  for (const metadata of [undefined, { [ownerKey]: 'store-b' }]) {
    const world = setup();
    const uuid = await succeeds(
      connection.call(async (client) => {
        const theirs = await client.createCollection({
          name: world.collectionName,
          embeddingFunction: null,
          ...(metadata === undefined ? {} : { metadata }),
        });
        await theirs.add({
          ids: ['a', 'b'],
          embeddings: [
            [1, 0.25],
            [0.5, 1],
          ],
          documents: ['their first', 'their second'],
          metadatas: [{ page: 1 }, { page: 2 }],
        });
        return theirs.id;
      }, limits),
    );
    const snapshot = () =>
      succeeds(
        connection.call(async (client) => {
          const theirs = await client.getCollection({ name: world.collectionName });
          const everything = await theirs.get({ include: ['documents', 'embeddings', 'metadatas'] });
          return JSON.stringify([theirs.id, theirs.metadata, theirs.configuration, everything]);
        }, limits),
      );
    const before = await snapshot();
    const { bootstrap, ready } = world.start();
    await t.rejects(ready, { code: 'collection_not_owned' });
    t.equal(bootstrap.state.phase, 'failed');
    t.equal(await snapshot(), before);
    t.ok(before.includes(uuid));
    t.same(await namesLike(world.collectionName), [world.collectionName], 'nothing was built beside it');
    t.equal(await world.rankZero.currentCollection(), null);
  }
});

t.test('an empty collection without a mark is taken over', async (t) => {
  const world = setup();
  await succeeds(
    connection.call(
      (client) => client.createCollection({ name: world.collectionName, embeddingFunction: null }),
      limits,
    ),
  );
  t.match((await world.start().ready).record, { count: 5 });
});

t.test('leftovers of earlier builds are deleted when they carry our mark, and only then', async (t) => {
  const world = setup();
  const create = (name: string, owner: string) =>
    succeeds(
      connection.call(
        (client) =>
          client.createCollection({ name, embeddingFunction: null, metadata: { [ownerKey]: owner } }),
        limits,
      ),
    );
  await create(`${world.collectionName}.900`, 'store-a');
  await create(`${world.collectionName}.901`, 'store-b');
  await create(`${world.collectionName}.notes`, 'store-a');
  await world.start().ready;
  t.same((await namesLike(world.collectionName)).sort(), [
    world.collectionName,
    `${world.collectionName}.901`,
    `${world.collectionName}.notes`,
  ]);
});

t.test('what cannot succeed fails at once, before Chroma is touched', async (t) => {
  const nobody = new ChromaConnection({ url: 'http://127.0.0.1:1' });
  const failing = (options: Partial<BootstrapOptions>) =>
    setup({ connection: nobody, ...options }).start().ready;
  await t.rejects(failing({ corpus: smallCorpus(0) }), { code: 'corpus_empty' });
  await t.rejects(failing({ collectionName: 'no spaces' }), { code: 'config_invalid' });
  await t.rejects(failing({ collectionName: '10.0.0' }), { code: 'config_invalid' });
  const broken = { ...lexicalEmbedding, createEmbedder: brokenEmbedder };
  await t.rejects(failing({ embedding: broken }), { code: 'embedder_failed' });
  await t.rejects(failing({ timeoutMs: 50 }), { code: 'chroma_unavailable' }, 'nobody answers');
});

t.test('says so when what answers is not Chroma', async (t) => {
  for (const status of [200, 404]) {
    const proxy = await faultyProxy(t, connection.url);
    proxy.onRequest = () => ({ kind: 'answer', status, body: '<html>a web site</html>' });
    const stranger = new ChromaConnection({ url: proxy.url });
    await t.rejects(setup({ connection: stranger }).start().ready, {
      code: 'chroma_refused',
      message: /not a Chroma/,
    });
  }
});

t.test(
  'waits for a Chroma that is still starting, and survives connections that break while it fills',
  async (t) => {
    const proxy = await faultyProxy(t, connection.url);
    const seen = { early: 0, writes: 0 };
    proxy.onRequest = (path) => {
      if (seen.early < 2) {
        seen.early += 1;
        return seen.early === 1 ? { kind: 'reset' } : { kind: 'answer', status: 503, body: '{}' };
      }
      if (path.endsWith('/upsert')) seen.writes += 1;
      return path.endsWith('/upsert') && seen.writes % 2 === 1 ? { kind: 'reset' } : { kind: 'pass' };
    };
    const world = setup({ connection: new ChromaConnection({ url: proxy.url }), corpus: smallCorpus(701) });
    t.equal((await world.start().ready).record.count, 701);
    t.ok(seen.writes >= 4);
  },
);

async function brokenEmbedder(chunks: AsyncIterable<unknown>) {
  for await (const _chunk of chunks);
  return {
    fingerprint: 'broken',
    dimensions: 2,
    embedDocuments: async (texts: readonly string[]) => texts.map(() => Float32Array.of(Number.NaN, 1)),
    embedQueries: async () => [],
  };
}

t.test('a build that fails leaves the old collection in its place and nothing beside it', async (t) => {
  const world = setup();
  const first = await world.start().ready;
  let reads = 0;
  const changing = {
    ...world.corpus,
    async *chunks() {
      reads += 1;
      for await (const chunk of world.corpus.chunks())
        yield { ...chunk, text: `${chunk.text} Read ${reads}.` };
    },
  };
  await t.rejects(world.start({ corpus: changing }).ready, { code: 'corpus_unreadable' });
  const twins = (count: number) => ({
    ...world.corpus,
    async *chunks() {
      yield* smallCorpus(count).chunks();
      yield* world.corpus.chunks();
    },
  });
  await t.rejects(world.start({ corpus: twins(5) }).ready, { code: 'chroma_refused', message: /unique/ });
  await t.rejects(world.start({ corpus: twins(500) }).ready, { code: 'collection_incomplete' });
  t.same(await namesLike(world.collectionName), [world.collectionName]);
  t.same(await first.collection.count(limits), { kind: 'ok', value: 5 });
  t.equal((await world.rankZero.currentCollection())?.uuid, first.record.uuid);
});

t.test(
  'a write that fails while the corpus is slow to read on ends the build, and nothing else',
  async (t) => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', note);
    t.teardown(() => process.off('unhandledRejection', note));
    const failed = Promise.withResolvers<void>();
    const embedding = {
      ...lexicalEmbedding,
      createEmbedder: async (chunks: AsyncIterable<CorpusChunk>) => {
        const embedder = await lexicalEmbedding.createEmbedder(chunks);
        const embedDocuments = async (texts: readonly string[]) => {
          if (texts.length === 1) return embedder.embedDocuments(texts);
          failed.resolve();
          throw new RagmillError('embedder_failed', 'It has gone.');
        };
        return { ...embedder, embedDocuments };
      },
    };
    let reads = 0;
    const many = smallCorpus(700);
    const corpus = {
      ...many,
      async *chunks() {
        reads += 1;
        let count = 0;
        for await (const chunk of many.chunks()) {
          yield chunk;
          count += 1;
          if (reads < 2 || count !== 600) continue;
          await failed.promise;
          // By then the failed write has had its turn, and whoever handles none would have been told.
          await nextTurn();
          await nextTurn();
        }
      },
    };
    await t.rejects(setup({ corpus, embedding }).start().ready, { code: 'embedder_failed' });
    t.same(unhandled, []);
  },
);

t.test('waits for rank 0 while another process holds it, and can be stopped meanwhile', async (t) => {
  const world = setup();
  world.rankZero.isHeldElsewhere = true;
  const stopping = new AbortController();
  const bootstrap = new Bootstrap(world);
  const running = bootstrap.run(stopping.signal);
  await until('it to wait', () => bootstrap.state.phase === 'waiting_for_rank');
  stopping.abort();
  await t.rejects(running, { name: 'AbortError' });
});

t.test('a process that lost rank 0 while it built records nothing', async (t) => {
  const world = setup();
  const { rankZero } = world;
  const corpus = {
    ...world.corpus,
    async *chunks() {
      yield* world.corpus.chunks();
      await rankZero.acquireRankZero();
    },
  };
  await t.rejects(world.start({ corpus }).ready, { code: 'rank_lost' });
  t.equal(await rankZero.currentCollection(), null);
});

t.test(
  "collections of somebody else under names that builds would get stay, and are in nobody's way",
  async (t) => {
    const world = setup();
    const { collectionName } = world;
    // The first two builds get the tokens 1 and 2, and the second replaces the first.
    const theirs = [`${collectionName}.1`, `${collectionName}.2.retired`];
    const contents = (name: string) =>
      succeeds(
        connection.call(async (client) => {
          const { id, metadata, ...it } = await client.getCollection({ name });
          return JSON.stringify([id, metadata, await client.collection(id).get(), it.configuration]);
        }, limits),
      );
    for (const name of theirs) {
      await succeeds(
        connection.call(async (client) => {
          const created = await client.createCollection({ name, embeddingFunction: null });
          await created.add({ ids: ['a'], embeddings: [[1, 0.25]], documents: ['their first'] });
        }, limits),
      );
    }
    const before = await Promise.all(theirs.map(contents));
    await world.start().ready;
    await world.start().ready;
    t.same(await Promise.all(theirs.map(contents)), before);
    t.same(
      (await namesLike(collectionName)).sort(),
      [collectionName, ...theirs],
      'nothing is left of the builds',
    );
  },
);

t.test('if-changed: a start that joins clears away what a killed one has left', async (t) => {
  const world = setup({ resetCollection: 'if-changed' });
  const built = await world.start().ready;
  for (const left of ['.7', '.7.retired']) {
    await succeeds(
      connection.call(
        (client) =>
          client.createCollection({
            name: `${world.collectionName}${left}`,
            embeddingFunction: null,
            metadata: { [ownerKey]: world.rankZero.storeId },
          }),
        limits,
      ),
    );
  }
  t.same((await world.start().ready).record, built.record, 'joined');
  t.same(await namesLike(world.collectionName), [world.collectionName]);
});
