// RESET_COLLECTION=never: a collection that is somebody else's is looked at and asked, and nothing in it is ever changed.

import pino from 'pino';
import t, { type Test } from 'tap';
import { Bootstrap } from '../../src/chroma/bootstrap.ts';
import { LiveCollection } from '../../src/chroma/live-collection.ts';
import { systemClock } from '../../src/time.ts';
import { embedderFixture } from '../fakes/embedder-fixtures.ts';
import { MemoryRankZero } from '../fakes/memory-rank-zero.ts';
import { realChroma, succeeds } from '../fakes/real-chroma.ts';
import { smallCorpus } from '../fakes/small-corpus.ts';
import { until } from '../fakes/until.ts';

const limits = { timeoutMs: 30_000 };
const log = pino({ level: 'silent' });
const connection = await realChroma(t);
let nameCount = 0;

async function setup(t: Test) {
  const { embedder, open } = await embedderFixture(t);
  const name = `attached-${nameCount++}`;
  const rankZero = new MemoryRankZero();
  const bootstrap = new Bootstrap({
    rankZero,
    connection,
    corpus: smallCorpus(0),
    embedding: open().embedding,
    collectionName: name,
    resetCollection: 'never',
    timeoutMs: 30_000,
    clock: systemClock,
    log,
  });
  const start = () => bootstrap.run(new AbortController().signal);
  return { name, rankZero, bootstrap, start, embedder: await embedder() };
}

/** As somebody else fills it, under metadata of their own. */
function fill(name: string, texts: readonly string[], vectors: readonly Float32Array[]): Promise<string> {
  return succeeds(
    connection.call(async (client) => {
      const theirs = await client.createCollection({
        name,
        embeddingFunction: null,
        metadata: { by: 'them' },
      });
      await theirs.add({
        ids: texts.map((_text, index) => `their-${index}`),
        embeddings: vectors.map((vector) => Array.from(vector)),
        documents: [...texts],
        metadatas: texts.map((_text, index) => ({ page: index })),
      });
      return theirs.id;
    }, limits),
  );
}

function everything(name: string): Promise<string> {
  return succeeds(
    connection.call(async (client) => {
      const theirs = await client.getCollection({ name });
      const { ids, documents, embeddings, metadatas } = await theirs.get({
        include: ['documents', 'embeddings', 'metadatas'],
      });
      return JSON.stringify([theirs.id, theirs.name, theirs.metadata, ids, documents, embeddings, metadatas]);
    }, limits),
  );
}

t.test('a collection of somebody else is asked, and stays as it is', async (t) => {
  const { name, rankZero, bootstrap, start, embedder } = await setup(t);
  const { texts } = smallCorpus();
  const uuid = await fill(name, texts, await embedder.embedDocuments(texts));
  const before = await everything(name);
  const first = await start();
  t.match(first.record, { generation: 1, uuid, count: 5 });
  t.equal((await start()).record.generation, 1, 'the same collection keeps its number');
  const generations: number[] = [];
  const live = new LiveCollection(first, {
    bootstrap,
    connection,
    ownerId: rankZero.storeId,
    isAttached: true,
    patienceMs: 30_000,
    maxAttempts: 2,
    timeoutMs: 30_000,
    outageMs: 600_000,
    onChange: ({ record }) => generations.push(record.generation),
    onHealed: () => {},
    clock: systemClock,
    log,
  });
  t.teardown(() => live.stop());
  const wish = { topK: 1, maxDistance: null, where: { page: 1 } };
  t.match(await live.retrieve('Glaciers carve valleys', wish), {
    kind: 'success',
    passages: [{ documentId: 'their-1', chunk: 0, text: /Glaciers/ }],
  });
  t.throws(() => live.reset(), { code: 'collection_read_only' });
  t.equal(await everything(name), before);

  await succeeds(connection.call((client) => client.deleteCollection({ name }), limits));
  const asked = live.retrieve('Glaciers carve valleys', { ...wish, where: null });
  await until('the outage to be noticed', () => live.outage !== null);
  t.match(live.outage, { dependency: 'collection', message: /does not exist/ });
  await t.rejects(everything(name), 'nothing was made in its place');
  const again = await fill(name, texts, await embedder.embedDocuments(texts));
  t.match(await asked, { kind: 'success', attempts: 1, collectionGeneration: 2 });
  t.same([live.current.record.uuid, generations], [again, [2]]);
});

t.test('what is not there, is empty, or has other vectors ends the start, and nothing is made', async (t) => {
  const absent = await setup(t);
  await t.rejects(absent.start(), { code: 'collection_missing', message: /does not exist/ });
  await t.rejects(everything(absent.name));
  const empty = await setup(t);
  await succeeds(
    connection.call(
      (client) => client.createCollection({ name: empty.name, embeddingFunction: null }),
      limits,
    ),
  );
  await t.rejects(empty.start(), { code: 'collection_missing', message: /is empty/ });
  const other = await setup(t);
  await fill(other.name, ['a text'], [Float32Array.of(1, 0)]);
  await t.rejects(other.start(), { code: 'collection_mismatch', message: /vectors of 2 numbers/ });
});
