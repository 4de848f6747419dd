// The handle heals itself when its collection is deleted and created anew, and trusts nothing without our mark.

import pino from 'pino';
import t from 'tap';
import { ChromaConnection } from '../../src/chroma/chroma-client.ts';
import { CollectionHandle } from '../../src/chroma/collection-handle.ts';
import { ownerKey } from '../../src/chroma/ownership.ts';
import { faultyProxy } from '../fakes/faulty-proxy.ts';
import { realChroma, succeeds } from '../fakes/real-chroma.ts';

const limits = { timeoutMs: 30_000 };
const chroma = await realChroma(t);
let nameCount = 0;

async function create(name: string, text: string, owner = 'us'): Promise<string> {
  return succeeds(
    chroma.call(async (client) => {
      const created = await client.createCollection({
        name,
        embeddingFunction: null,
        metadata: { [ownerKey]: owner },
      });
      await created.add({ ids: ['a'], embeddings: [[1, 0]], documents: [text] });
      return created.id;
    }, limits),
  );
}

function drop(name: string): Promise<void> {
  return succeeds(chroma.call((client) => client.deleteCollection({ name }), limits));
}

async function setup(connection = chroma) {
  const name = `handle-${nameCount++}`;
  const uuid = await create(name, 'first');
  const rebinds: { from: string; to: string }[] = [];
  const onRebind = (change: { from: string; to: string }) => rebinds.push(change);
  const log = pino({ level: 'silent' });
  return {
    name,
    uuid,
    rebinds,
    handle: new CollectionHandle({ connection, name, uuid, ownerId: 'us', log, onRebind }),
  };
}

async function firstText(handle: CollectionHandle): Promise<string> {
  const found = await handle.query([Float32Array.of(1, 0)], { ...limits, topK: 1 });
  return found.kind === 'ok' ? String(found.value[0]?.[0]?.text) : found.class;
}

t.test('follows a collection that was created anew, by one look-up for all callers', async (t) => {
  const proxy = await faultyProxy(t, chroma.url);
  const { name, uuid, rebinds, handle } = await setup(new ChromaConnection({ url: proxy.url }));
  t.equal(await firstText(handle), 'first');
  await drop(name);
  const next = await create(name, 'second');
  const texts = await Promise.all(Array.from({ length: 8 }, () => firstText(handle)));
  t.same(new Set(texts), new Set(['second']));
  t.same(rebinds, [{ from: uuid, to: next }]);
  t.equal(proxy.paths.filter((path) => path.endsWith(`/collections/${name}`)).length, 1);
  t.equal(handle.uuid, next);
});

t.test('says that a deleted collection is gone, and finds it when it is back', async (t) => {
  const { name, handle } = await setup();
  await drop(name);
  t.match(await handle.count(limits), { kind: 'failure', class: 'not_found', message: /is gone/ });
  await create(name, 'back');
  t.equal(await firstText(handle), 'back');
});

t.test('never uses a collection of somebody else under the same name', async (t) => {
  const { name, uuid, rebinds, handle } = await setup();
  await drop(name);
  await create(name, 'theirs', 'them');
  t.equal(await firstText(handle), 'not_owned');
  t.match(await handle.count(limits), { class: 'not_owned' });
  t.same(rebinds, []);
  t.equal(handle.uuid, uuid);
});

t.test('repeats a call once only, and only for "not found"', async (t) => {
  const proxy = await faultyProxy(t, chroma.url);
  const { handle } = await setup(new ChromaConnection({ url: proxy.url }));
  const counts = () => proxy.paths.filter((path) => path.endsWith('/count')).length;
  proxy.onRequest = (path) =>
    path.endsWith('/count')
      ? { kind: 'answer', status: 412, body: '{"message":"Missing metadata segment"}' }
      : { kind: 'pass' };
  t.match(await handle.count(limits), { class: 'not_found' });
  t.equal(counts(), 2);
  proxy.onRequest = () => ({ kind: 'answer', status: 500, body: '{"message":"oops"}' });
  t.match(await handle.count(limits), { class: 'server' });
  t.equal(counts(), 3);
});
