// Questions to passages: what each ending is called, and that questions share calls but not failures.

import pino from 'pino';
import t, { type Test } from 'tap';
import { Bootstrap } from '../../src/chroma/bootstrap.ts';
import { BoundCollection } from '../../src/chroma/bound-collection.ts';
import { ChromaConnection, failure } from '../../src/chroma/chroma-client.ts';
import { CollectionHandle } from '../../src/chroma/collection-handle.ts';
import { lexicalEmbedding } from '../../src/chroma/lexical-embedding.ts';
import { Retriever, type RetrieverOptions } from '../../src/chroma/retriever.ts';
import type { Embedder } from '../../src/domain/embedder.ts';
import { systemClock } from '../../src/time.ts';
import { type Fault, faultyProxy } from '../fakes/faulty-proxy.ts';
import { MemoryRankZero } from '../fakes/memory-rank-zero.ts';
import { realChroma, succeeds } from '../fakes/real-chroma.ts';
import { smallCorpus } from '../fakes/small-corpus.ts';

const log = pino({ level: 'silent' });
const chroma = await realChroma(t);
const rankZero = new MemoryRankZero();
const { record, embedder: lexical } = await new Bootstrap({
  rankZero,
  connection: chroma,
  corpus: smallCorpus(),
  embedding: lexicalEmbedding,
  collectionName: 'retrieval',
  resetCollection: 'always',
  timeoutMs: 60_000,
  clock: systemClock,
  log,
}).run(new AbortController().signal);

const wish = { topK: 2, maxDistance: null, where: null };
const question = 'Who polishes the lens of the lighthouse?';

interface Setup extends Partial<RetrieverOptions> {
  readonly embedder?: Embedder;
}

/** Without healing, and with all failures the questions' own. */
async function setup(t: Test, { embedder = lexical, ...options }: Setup = {}) {
  const proxy = await faultyProxy(t, chroma.url);
  const connection = new ChromaConnection({ url: proxy.url });
  const collection = new BoundCollection(connection, record.uuid);
  const handle = new CollectionHandle(
    { record, collection, embedder },
    { heal: async () => failure('not_found', 'The collection is empty'), onChange: () => {} },
  );
  const outage = { cause: null, passed: async () => {}, isToBlame: async () => false };
  const clock = { ...systemClock, sleep: () => Promise.resolve() };
  const limits = { maxAttempts: 3, timeoutMs: 30_000 };
  const retriever = new Retriever({ handle, outage, ...limits, clock, log, ...options });
  const queries = () => proxy.paths.filter((path) => path.endsWith('/query')).length;
  const whenQueried = (fault: (query: number) => Fault) => {
    proxy.onRequest = (path) => (path.endsWith('/query') ? fault(queries()) : { kind: 'pass' });
  };
  return { retriever, queries, whenQueried };
}

t.test('finds the passage that answers the question, with all that is known about it', async (t) => {
  const { retriever } = await setup(t);
  // Two more passages share a word with this question, every day and geese; the other two share none.
  const wide = `${question} And flour for geese?`;
  const outcome = await retriever.retrieve(wide, { topK: 5, maxDistance: null, where: null });
  t.match(outcome, { kind: 'success', collectionGeneration: 1, attempts: 1 });
  if (outcome.kind !== 'success') return;
  const [nearest, ...others] = outcome.passages;
  t.match(nearest, {
    documentId: 'doc-0',
    chunk: 0,
    title: null,
    source: 'notes/0.md',
    text: /lighthouse keeper/,
  });
  t.same(
    new Set(others.map(({ documentId }) => documentId)),
    new Set(['doc-2', 'doc-4']),
    'none without a word in common',
  );
  const distances = outcome.passages.map(({ distance }) => distance);
  t.same(
    distances,
    distances.toSorted((a, b) => a - b),
    'nearest first',
  );
  t.ok(distances.every((distance) => distance > 0 && distance < 1));
});

t.test('no more passages than were wished for', async (t) => {
  const { retriever } = await setup(t);
  const outcome = await retriever.retrieve('glaciers, sourdough, violin, geese', {
    topK: 3,
    maxDistance: null,
    where: null,
  });
  t.equal(outcome.kind === 'success' && outcome.passages.length, 3);
});

t.test('nothing within the distance, and no term in common, are soft failures', async (t) => {
  const { retriever, queries } = await setup(t);
  t.match(await retriever.retrieve(question, { topK: 2, maxDistance: 0.01, where: null }), {
    kind: 'soft_failure',
    code: 'nothing_found',
    collectionGeneration: 1,
  });
  t.equal(queries(), 1);
  t.match(await retriever.retrieve('zzzz qqqq', wish), { kind: 'soft_failure', code: 'nothing_found' });
  t.equal(queries(), 1, 'Chroma is not asked for what it cannot have');
  const some = await retriever.retrieve(question, { topK: 5, maxDistance: 0.9, where: null });
  t.equal(some.kind === 'success' && some.passages.length, 1, 'only what is near enough');
});

t.test('questions asked together share calls, by top_k, and each gets its own answer', async (t) => {
  const { retriever, queries } = await setup(t);
  const asked = ['glaciers', 'sourdough', 'violin', 'geese'].flatMap((word) =>
    [1, 2].map((topK) => ({ word, topK })),
  );
  const outcomes = await Promise.all(
    asked.map(({ word, topK }) => retriever.retrieve(word, { topK, maxDistance: null, where: null })),
  );
  t.equal(queries(), 2);
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.kind !== 'success') return t.fail(JSON.stringify(outcome));
    t.equal(outcome.passages.length, 1, 'only one passage has the word');
    t.match(outcome.passages[0]?.text.toLowerCase(), asked[index]?.word);
  }
});

t.test('the same question asked by several is asked once, for all who still wait', async (t) => {
  let embedded = 0;
  const counting: Embedder = {
    fingerprint: 'counting',
    dimensions: lexical.dimensions,
    embedDocuments: (texts) => lexical.embedDocuments(texts),
    embedQueries: (texts) => {
      embedded += texts.length;
      return lexical.embedQueries(texts);
    },
  };
  const { retriever, queries } = await setup(t, { embedder: counting });
  const leaving = new AbortController();
  const left = retriever.retrieve(question, wish, leaving.signal);
  const staying = Array.from({ length: 9 }, () => retriever.retrieve(question, wish));
  const otherwise = retriever.retrieve(question, { ...wish, maxDistance: 0.9 });
  t.equal(retriever.pending, 2, 'two questions, since their wishes differ');
  leaving.abort(new Error('leaving'));
  await t.rejects(left, { message: 'leaving' });
  for (const outcome of await Promise.all([...staying, otherwise])) t.match(outcome, { kind: 'success' });
  t.same([queries(), embedded, retriever.pending], [1, 2, 0]);
});

t.test('no call is larger than allowed, and nobody is forgotten', async (t) => {
  const { retriever, queries, whenQueried } = await setup(t, { maxBatchQuestions: 4, maxInFlight: 2 });
  whenQueried(() => ({ kind: 'pass' }));
  const outcomes = await Promise.all(
    Array.from({ length: 22 }, (_unused, index) => retriever.retrieve(`${question} ${index}`, wish)),
  );
  t.equal(queries(), 6);
  t.ok(outcomes.every(({ kind }) => kind === 'success'));
});

t.test('a bad question does not spoil its neighbours', async (t) => {
  const awkward: Embedder = {
    fingerprint: 'awkward',
    dimensions: lexical.dimensions,
    embedDocuments: (texts) => lexical.embedDocuments(texts),
    embedQueries: async (texts) => {
      if (texts.includes('throws')) throw new Error('too long');
      const vectors = await lexical.embedQueries(texts);
      return vectors.map((vector, index) => (texts[index] === 'broken' ? brokenVector() : vector));
    },
  };
  const { retriever, queries } = await setup(t, { embedder: awkward });
  const [good, broken, throwing, alsoGood] = await Promise.all(
    [question, 'broken', 'throws', 'glaciers'].map((text) => retriever.retrieve(text, wish)),
  );
  t.match(good, { kind: 'success' });
  t.match(alsoGood, { kind: 'success' });
  t.match(broken, { kind: 'soft_failure', code: 'query_unusable' });
  t.match(throwing, { kind: 'hard_failure', code: 'rag_unavailable', message: /too long/ });
  t.equal(queries(), 1);
});

function brokenVector(): Float32Array {
  return new Float32Array(lexical.dimensions).fill(Number.NaN);
}

t.test('tries again when Chroma fails, and counts the attempts', async (t) => {
  const { retriever, whenQueried } = await setup(t);
  whenQueried((query) =>
    query < 3 ? { kind: 'answer', status: 500, body: '{"message":"oops"}' } : { kind: 'pass' },
  );
  t.match(await retriever.retrieve(question, wish), { kind: 'success', attempts: 3 });
});

t.test('gives up after the attempts it was given: a hard failure', async (t) => {
  for (const fault of [{ kind: 'reset' }, { kind: 'answer', status: 503, body: '' }] as const) {
    const { retriever, queries, whenQueried } = await setup(t);
    whenQueried(() => fault);
    t.match(await retriever.retrieve(question, wish), {
      kind: 'hard_failure',
      code: 'rag_unavailable',
      attempts: 3,
    });
    t.equal(queries(), 3);
  }
  const slow = await setup(t, { timeoutMs: 50, maxAttempts: 2 });
  slow.whenQueried(() => ({ kind: 'hang' }));
  t.match(await slow.retriever.retrieve(question, wish), {
    kind: 'hard_failure',
    code: 'rag_timeout',
    attempts: 2,
  });
});

t.test('what Chroma refuses is not asked again', async (t) => {
  const { retriever, queries, whenQueried } = await setup(t);
  whenQueried(() => ({ kind: 'answer', status: 400, body: '{"message":"no"}' }));
  t.match(await retriever.retrieve(question, wish), {
    kind: 'hard_failure',
    code: 'rag_rejected',
    message: /^no$/,
    attempts: 1,
  });
  t.equal(queries(), 1);
});

t.test('what failed in a large call is asked again in smaller ones', async (t) => {
  const { retriever, whenQueried } = await setup(t);
  const asked = Array.from({ length: 32 }, (_, index) => retriever.retrieve(`${question} ${index}`, wish));
  // The first call is refused, as by a proxy that takes no large bodies, and so is one of the smaller ones.
  whenQueried((query) => (query <= 2 ? { kind: 'answer', status: 413, body: '' } : { kind: 'pass' }));
  const attempts = (await Promise.all(asked)).map(
    (outcome) => outcome.kind === 'success' && outcome.attempts,
  );
  t.same(
    attempts.toSorted(),
    Array.from({ length: 32 }, (_, index) => (index < 28 ? 2 : 3)),
    'four fail once more',
  );
});

t.test('while nobody is answered, calls stay as large as they are', async (t) => {
  const outage = {
    cause: { dependency: 'chroma', message: 'away' } as const,
    passed: async () => {},
    isToBlame: async () => false,
  };
  const { retriever, queries, whenQueried } = await setup(t, { outage });
  whenQueried(() => ({ kind: 'answer', status: 503, body: '' }));
  const asked = Array.from({ length: 32 }, (_, index) => retriever.retrieve(`${question} ${index}`, wish));
  for (const outcome of await Promise.all(asked)) t.match(outcome, { kind: 'hard_failure', attempts: 3 });
  t.equal(queries(), 3);
});

t.test('a question that is cancelled rejects at once and leaves the others alone', async (t) => {
  const { retriever, queries, whenQueried } = await setup(t, { maxInFlight: 1 });
  const cancelling = new AbortController();
  whenQueried((query) => {
    if (query === 1) cancelling.abort(new Error('no longer wanted'));
    return { kind: 'pass' };
  });
  const first = retriever.retrieve(question, { topK: 1, maxDistance: null, where: null });
  const inFlight = retriever.retrieve(
    'glaciers',
    { topK: 1, maxDistance: null, where: null },
    cancelling.signal,
  );
  const queued = retriever.retrieve(
    'glaciers',
    { topK: 5, maxDistance: null, where: null },
    cancelling.signal,
  );
  await Promise.all([
    t.rejects(inFlight, { message: 'no longer wanted' }),
    t.rejects(queued, { message: 'no longer wanted' }),
    t.resolveMatch(first, { kind: 'success' }),
  ]);
  t.equal(queries(), 1);
  await t.rejects(retriever.retrieve(question, wish, cancelling.signal), { message: 'no longer wanted' });
});

t.test('a collection found empty is an outage, not an answer', async (t) => {
  const { retriever } = await setup(t);
  await succeeds(
    chroma.call(
      (client) => client.collection(record.uuid).delete({ ids: [0, 1, 2, 3, 4].map((n) => `doc-${n}#0`) }),
      {
        timeoutMs: 30_000,
      },
    ),
  );
  t.match(await retriever.retrieve(question, wish), {
    kind: 'hard_failure',
    code: 'rag_unavailable',
    message: /empty/,
    attempts: 3,
  });
});
