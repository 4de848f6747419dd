// The collection in use against a real Chroma and another client that deletes, empties, re-creates and occupies it: it
// heals, never uses what is not ours, and never answers without context because of a reset.

import t from 'tap';
import { ownerKey } from '../../src/chroma/ownership.ts';
import { type Clock, systemClock } from '../../src/time.ts';
import { contents, create, drop, liveWorld, namesLike, question, wish } from '../fakes/live-world.ts';
import { realChroma, succeeds } from '../fakes/real-chroma.ts';
import { until } from '../fakes/until.ts';

const limits = { timeoutMs: 30_000 };
const chroma = await realChroma(t);

t.test('a collection that is gone, or empty, is filled again while questions wait', async (t) => {
  for (const how of ['deleted', 'emptied', 'empty one in its place'] as const) {
    const { live, name, generations, healed, ask } = await liveWorld(t, chroma);
    if (how === 'emptied') {
      const { ids } = await contents(chroma, name);
      await succeeds(
        chroma.call(async (client) => (await client.getCollection({ name })).delete({ ids }), limits),
      );
    } else {
      await drop(chroma, name);
      if (how === 'empty one in its place') await create(chroma, name, null);
    }
    const outcomes = await Promise.all(Array.from({ length: 20 }, (_, index) => ask(`${question} ${index}`)));
    for (const outcome of outcomes) {
      t.match(outcome, { kind: 'success', attempts: 1, collectionGeneration: 2 }, how);
    }
    t.same([generations, healed.times], [[2], 1], 'once for all of them');
    t.equal(live.current.record.generation, 2);
    t.equal((await contents(chroma, name)).ids.length, 5);
  }
});

t.test('one that was made again of the same is used as it is, under a new generation', async (t) => {
  const { live, name, healed, ask } = await liveWorld(t, chroma);
  const records = await contents(chroma, name);
  await drop(chroma, name);
  const uuid = await create(chroma, name, records, { [ownerKey]: 'store-a' });
  t.match(await ask(), { kind: 'success', collectionGeneration: 2 });
  t.equal(live.current.record.uuid, uuid);
  t.equal(healed.times, 1);
});

t.test('one with our mark but other contents is built anew', async (t) => {
  const { live, name, ask } = await liveWorld(t, chroma);
  const records = await contents(chroma, name);
  await drop(chroma, name);
  const embeddings = records.embeddings.toReversed();
  const uuid = await create(chroma, name, { ...records, embeddings }, { [ownerKey]: 'store-a' });
  t.match(await ask(), { kind: 'success', collectionGeneration: 2 });
  t.not(live.current.record.uuid, uuid);
});

t.test("somebody else's collection under the name is an outage, and is left as it is", async (t) => {
  const { live, name, ask } = await liveWorld(t, chroma);
  await drop(chroma, name);
  const theirs = { ids: ['a'], embeddings: [[1, 0]], documents: ['theirs'], metadatas: [{ page: 1 }] };
  await create(chroma, name, theirs);
  const before = JSON.stringify(await contents(chroma, name));
  const asked = ask();
  await until('the outage to be noticed', () => live.outage !== null);
  t.match(live.outage, { dependency: 'collection', message: /belongs to somebody else/ });
  t.equal(JSON.stringify(await contents(chroma, name)), before);
  await drop(chroma, name);
  t.match(await asked, { kind: 'success', attempts: 1, collectionGeneration: 2 });
  t.equal(live.outage, null);
});

/** Chroma's answer to a query in the moment after its records are gone. */
const hollow = JSON.stringify({
  ids: [['doc-0#0', 'doc-1#0']],
  distances: [[0.1, 0.2]],
  documents: [[null, null]],
  metadatas: [[null, null]],
  embeddings: null,
  uris: null,
  include: ['documents', 'metadatas', 'distances'],
});

t.test('every face of the race with a reset is taken for one', async (t) => {
  const faces = [
    [404, '{"message":"Collection [x] does not exists."}'],
    [412, '{"message":"Missing metadata segment"}'],
    [412, '{"message":"error in a backfill request to compactor"}'],
    [500, '{"message":"Nothing found on disk"}'],
    // The index still knows what has been deleted.
    [200, hollow],
  ] as const;
  for (const [status, body] of faces) {
    const { proxy, ask } = await liveWorld(t, chroma);
    let queries = 0;
    proxy.onRequest = (path) => {
      if (!path.endsWith('/query')) return { kind: 'pass' };
      queries += 1;
      return queries === 1 ? { kind: 'answer', status, body } : { kind: 'pass' };
    };
    t.match(await ask(), { kind: 'success', attempts: 1, collectionGeneration: 1 }, body);
    t.equal(queries, 2, 'asked once more, in the collection that is there');
  }
});

t.test('a reset serves the old build until the new one is READY, then only the new one', async (t) => {
  const { live, name, corpus, ask } = await liveWorld(t, chroma);
  corpus.texts[0] = 'The lighthouse keeper polishes the lens with obsidian dust.';
  await live.reset();
  t.throws(() => live.reset(), { code: 'collection_busy' });
  const seen = new Set<string>();
  let asked = 0;
  while (live.isResetting) {
    asked += 1;
    const outcome = await ask(`${question} ${asked}`);
    if (outcome.kind !== 'success') return t.fail(JSON.stringify(outcome));
    const [nearest] = outcome.passages;
    seen.add(`${outcome.collectionGeneration} ${nearest?.text.includes('obsidian')}`);
  }
  const after = await ask();
  t.match(after, { kind: 'success', collectionGeneration: 2, passages: [{ text: /obsidian/ }] });
  t.ok(seen.has('1 false'), 'the old build answered meanwhile');
  t.notOk(seen.has('1 true') || seen.has('2 false'), 'no mixture');
  await until('the old build to be deleted', async () => (await namesLike(chroma, `${name}.`)).length === 0);
});

t.test('a reset that cannot succeed changes nothing', async (t) => {
  const { live, corpus, ask } = await liveWorld(t, chroma);
  corpus.texts.length = 0;
  await live.reset();
  await until('the reset to fail', () => !live.isResetting);
  t.match(await ask(), { kind: 'success', collectionGeneration: 1 });
});

t.test('while Chroma is away questions wait and lose no attempt; it is over by itself', async (t) => {
  for (const fault of [{ kind: 'reset' }, { kind: 'answer', status: 503, body: '' }] as const) {
    const { proxy, live, ask } = await liveWorld(t, chroma);
    proxy.onRequest = () => fault;
    const asked = Promise.all(Array.from({ length: 10 }, (_, index) => ask(`${question} ${index}`)));
    await until('the outage to be noticed', () => live.outage !== null);
    t.match(live.outage, { dependency: 'chroma' });
    t.equal(live.pending, 10);
    proxy.onRequest = () => ({ kind: 'pass' });
    for (const outcome of await asked) t.match(outcome, { kind: 'success', attempts: 1 });
    t.equal(live.outage, null);
  }
});

t.test('an outage that lasts too long ends waiting: the limited attempts, then a hard failure', async (t) => {
  const { proxy, live, ask } = await liveWorld(t, chroma, { outageMs: 300 });
  proxy.onRequest = () => ({ kind: 'reset' });
  t.match(await ask(), { kind: 'hard_failure', code: 'rag_unavailable', attempts: 2 });
  t.match(
    await ask('Do glaciers carve?'),
    { kind: 'hard_failure', attempts: 2 },
    'nor does the next one wait',
  );
  t.ok(live.outage);
  proxy.onRequest = () => ({ kind: 'pass' });
  await until('the outage to end', () => live.outage === null);
  t.match(await ask(), { kind: 'success', attempts: 1 });
});

t.test('a collection that has lost some of its records is built again before anybody asks', async (t) => {
  // The watch looks every ten seconds; here it looks at once.
  const sleep: Clock['sleep'] = (ms, signal) => systemClock.sleep(Math.min(ms, 20), signal);
  const { live, name, generations } = await liveWorld(t, chroma, { clock: { ...systemClock, sleep } });
  await succeeds(
    chroma.call(
      async (client) => (await client.getCollection({ name })).delete({ ids: ['doc-3#0'] }),
      limits,
    ),
  );
  await until('it to be noticed', () => live.current.record.generation === 2);
  t.same(generations, [2]);
  t.equal((await contents(chroma, name)).ids.length, 5);
});

t.test('one that cannot be built again is said to be damaged, and answers with what it has', async (t) => {
  const sleep: Clock['sleep'] = (ms, signal) => systemClock.sleep(Math.min(ms, 20), signal);
  const { live, name, corpus, ask } = await liveWorld(t, chroma, { clock: { ...systemClock, sleep } });
  const texts = corpus.texts.splice(0);
  await succeeds(
    chroma.call(
      async (client) => (await client.getCollection({ name })).delete({ ids: ['doc-3#0'] }),
      limits,
    ),
  );
  await until('it to be noticed', () => live.damage !== null);
  t.match(await ask(), { kind: 'success', collectionGeneration: 1 });
  corpus.texts.push(...texts);
  await until('it to be built again', () => live.current.record.generation === 2);
  t.equal(live.damage, null);
});

t.test('a question that fails by itself is no outage', async (t) => {
  const { proxy, live, ask } = await liveWorld(t, chroma);
  let queries = 0;
  proxy.onRequest = (path) => {
    if (!path.endsWith('/query')) return { kind: 'pass' };
    queries += 1;
    // Every second query is the probe.
    return queries % 2 === 1 ? { kind: 'answer', status: 500, body: '{"message":"oops"}' } : { kind: 'pass' };
  };
  t.match(await ask(), { kind: 'hard_failure', code: 'rag_unavailable', attempts: 2 });
  t.equal(live.outage, null);
});

t.test('a stop ends all waiting', async (t) => {
  const { proxy, live } = await liveWorld(t, chroma);
  proxy.onRequest = () => ({ kind: 'reset' });
  const leaving = new AbortController();
  const asked = live.retrieve(question, wish, leaving.signal);
  await until('the outage to be noticed', () => live.outage !== null);
  leaving.abort(new Error('leaving'));
  await t.rejects(asked, { message: 'leaving' });
  await live.stop();
});
