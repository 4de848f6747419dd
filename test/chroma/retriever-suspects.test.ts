// Questions that bring the server down: they end, and take nobody along.

import pino from 'pino';
import t from 'tap';
import type { BoundCollection } from '../../src/chroma/bound-collection.ts';
import { failure } from '../../src/chroma/chroma-client.ts';
import { CollectionHandle } from '../../src/chroma/collection-handle.ts';
import { Retriever } from '../../src/chroma/retriever.ts';
import { systemClock } from '../../src/time.ts';

const log = pino({ level: 'silent' });
const record = { generation: 1, uuid: 'u', name: 'n', count: 5, fingerprint: 'f', readyAt: 1 };
const wish = { topK: 2, maxDistance: null, where: null };
const poisonMark = 7;

/** A collection that dies of poison, and takes along whatever is in flight at the same time. Every death is an outage. */
function setup() {
  const calls: number[] = [];
  const dying = new Set<() => void>();
  const isPoison = ([, mark]: Float32Array) => mark === poisonMark;
  const collection = {
    uuid: 'u',
    query: async (vectors: readonly Float32Array[]) => {
      calls.push(vectors.length);
      let isDead = vectors.some(isPoison);
      const die = () => {
        isDead = true;
      };
      dying.add(die);
      if (isDead) for (const other of dying) other();
      await new Promise(setImmediate);
      dying.delete(die);
      if (isDead) return failure('unreachable', 'Chroma cannot be reached');
      const found = { id: 'a#0', text: 'x', metadata: {}, distance: 0.1 };
      return { kind: 'ok' as const, value: vectors.map(() => [found]) };
    },
  };
  const embedQueries = async (texts: readonly string[]) =>
    texts.map((text) => Float32Array.of(1, text.startsWith('poison') ? poisonMark : 0));
  const embedder = { fingerprint: 'e', dimensions: 2, embedDocuments: async () => [], embedQueries };
  const build = { record, embedder, collection: collection as unknown as BoundCollection };
  const heal = async () => failure('not_found', 'gone');
  const handle = new CollectionHandle(build, { heal, onChange: () => {} });
  const outage = { cause: null, passed: async () => {}, isToBlame: async () => true };
  const clock = { ...systemClock, sleep: async () => {} };
  const retriever = new Retriever({ handle, outage, maxAttempts: 3, timeoutMs: 1_000, clock, log });
  return { retriever, calls };
}

t.test(
  'a question that ends the server each time ends as a hard failure, and its neighbours succeed',
  async (t) => {
    const { retriever, calls } = setup();
    const poison = ['poison', 'poison too'].map((query) => retriever.retrieve(query, wish));
    const neighbours = Array.from({ length: 40 }, (_, index) =>
      retriever.retrieve(`good ${index}`, { ...wish, topK: 2 + (index % 2) }),
    );
    for (const outcome of await Promise.all(poison)) {
      t.match(outcome, { kind: 'hard_failure', code: 'rag_unavailable', attempts: 3 });
    }
    for (const outcome of await Promise.all(neighbours)) t.match(outcome, { kind: 'success', attempts: 1 });
    t.ok(calls.length < 80, `and nobody is asked without end (${calls.length} calls)`);
    t.equal(retriever.pending, 0);
  },
);

t.test('a question that meets a few outages by chance loses no attempt', async (t) => {
  const { retriever } = setup();
  const left = new AbortController();
  const poison = retriever.retrieve('poison', wish, left.signal);
  const neighbour = retriever.retrieve('good', wish);
  t.match(await neighbour, { kind: 'success', attempts: 1 });
  left.abort(new Error('left'));
  await poison.catch(() => {});
});
