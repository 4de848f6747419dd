// A collection whose index file is torn: Chroma finds it by name and cannot read it. What is ours is built anew, at a start
// and while running; what is somebody else's is left alone.

import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import t, { type Test } from 'tap';
import { Bootstrap } from '../../src/chroma/bootstrap.ts';
import { ChromaConnection } from '../../src/chroma/chroma-client.ts';
import { removeLeftovers, swapIn } from '../../src/chroma/collection-swap.ts';
import { EmbeddedChroma } from '../../src/chroma/embedded-server.ts';
import { lexicalEmbedding } from '../../src/chroma/lexical-embedding.ts';
import { ownerKey } from '../../src/chroma/ownership.ts';
import { PatientChroma } from '../../src/chroma/patient-chroma.ts';
import { systemClock } from '../../src/time.ts';
import { faultyProxy } from '../fakes/faulty-proxy.ts';
import { MemoryRankZero } from '../fakes/memory-rank-zero.ts';
import { succeeds } from '../fakes/real-chroma.ts';
import { smallCorpus } from '../fakes/small-corpus.ts';

const log = pino({ level: 'silent' });
const limits = { timeoutMs: 30_000 };
/** Chroma writes an index to files only from a thousand records on. */
const recordCount = 2_500;

/** A Chroma of its own, and what tears the indexes of all its collections. */
async function ownChroma(t: Test) {
  const dataDir = t.testdir();
  let server = new EmbeddedChroma({ dataDir, log, clock: systemClock });
  t.teardown(() => server.stop());
  const start = async () => new ChromaConnection({ url: (await server.start()).url });
  const tear = async () => {
    await server.stop();
    const files = readdirSync(dataDir, { recursive: true, encoding: 'utf8' });
    for (const file of files) if (/(header|data_level0)\.bin$/.test(file)) rmSync(join(dataDir, file));
    server = new EmbeddedChroma({ dataDir, log, clock: systemClock });
    return start();
  };
  return { connection: await start(), tear };
}

function bootstrapWith(connection: ChromaConnection, rankZero: MemoryRankZero, chunks = recordCount) {
  return new Bootstrap({
    rankZero,
    connection,
    corpus: smallCorpus(chunks),
    embedding: lexicalEmbedding,
    collectionName: 'damaged',
    resetCollection: 'if-changed',
    timeoutMs: 5_000,
    clock: systemClock,
    log,
  });
}

function patient(connection: ChromaConnection) {
  const { signal } = new AbortController();
  return new PatientChroma({ connection, patienceMs: 5_000, clock: systemClock, log, signal });
}

t.test('one of ours is built anew by the next start, and nothing is left of it', async (t) => {
  const { connection, tear } = await ownChroma(t);
  const rankZero = new MemoryRankZero();
  await bootstrapWith(connection, rankZero).run(new AbortController().signal);
  const torn = await tear();
  const { record, collection } = await bootstrapWith(torn, rankZero).run(new AbortController().signal);
  t.match(record, { generation: 2, count: recordCount });
  t.same(await collection.count(limits), { kind: 'ok', value: recordCount });
  const names = await succeeds(torn.call((client) => client.listCollections(), limits));
  t.same(
    names.map(({ name }) => name),
    ['damaged'],
  );
});

t.test("somebody else's ends the start and stays, also under a name that only we give", async (t) => {
  const { connection, tear } = await ownChroma(t);
  const fill = async (name: string, metadata?: Record<string, string>) => {
    const all = Array.from({ length: recordCount }, (_, index) => index);
    await succeeds(
      connection.call(async (client) => {
        const marked = metadata === undefined ? {} : { metadata };
        const created = await client.createCollection({ name, embeddingFunction: null, ...marked });
        await created.add({ ids: all.map(String), embeddings: all.map((n) => [n, 1, n % 7]) });
      }, limits),
    );
  };
  await fill('damaged', { [ownerKey]: 'store-b' });
  await fill('damaged.7.retired');
  const torn = await tear();
  const before = await succeeds(torn.call((client) => client.listCollections(), limits));
  const starting = bootstrapWith(torn, new MemoryRankZero(), 5).run(new AbortController().signal);
  await t.rejects(starting, { code: 'collection_not_owned', message: /cannot be read/ });
  const identity = { name: 'damaged', ownerId: 'store-a' };
  t.match(await removeLeftovers(patient(torn), identity, null), {
    removed: [],
    taken: new Set(['damaged.7.retired']),
  });
  const after = await succeeds(torn.call((client) => client.listCollections(), limits));
  const ids = (all: typeof before) => all.map(({ id, name }) => `${id} ${name}`).sort();
  t.same(ids(after), ids(before));
});

t.test('a name that cannot be given, and that no look-up finds, is told at once', async (t) => {
  const { connection } = await ownChroma(t);
  const { uuid } = await succeeds(
    connection.call(async (client) => {
      const { id } = await client.createCollection({ name: 'aside', embeddingFunction: null });
      await client.createCollection({ name: 'damaged', embeddingFunction: null });
      return { uuid: id };
    }, limits),
  );
  const proxy = await faultyProxy(t, connection.url);
  proxy.onRequest = (path) =>
    path.endsWith('/damaged') ? { kind: 'answer', status: 404, body: '{}' } : { kind: 'pass' };
  const chroma = new PatientChroma({
    connection: new ChromaConnection({ url: proxy.url }),
    patienceMs: Number.POSITIVE_INFINITY,
    clock: systemClock,
    log,
    signal: new AbortController().signal,
  });
  const build = { uuid, name: 'aside', retiredName: 'damaged.retired' };
  await t.rejects(swapIn(chroma, { name: 'damaged', ownerId: 'store-a' }, build), {
    code: 'chroma_refused',
    message: /"damaged" is taken/,
  });
});
