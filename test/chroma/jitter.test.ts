// Repeated text in a corpus: what says something once is found among much that says the same.

import pino from 'pino';
import t from 'tap';
import { Bootstrap } from '../../src/chroma/bootstrap.ts';
import type { CorpusSource, Embedding } from '../../src/chroma/corpus-survey.ts';
import { Jitter } from '../../src/chroma/jitter.ts';
import { lexicalEmbedding } from '../../src/chroma/lexical-embedding.ts';
import { serverIndex } from '../../src/chroma/open-embedding.ts';
import type { Embedder } from '../../src/domain/embedder.ts';
import { systemClock } from '../../src/time.ts';
import { MemoryRankZero } from '../fakes/memory-rank-zero.ts';
import { realChroma, succeeds } from '../fakes/real-chroma.ts';

const limits = { timeoutMs: 30_000 };
const BUILDS = 7;
const connection = await realChroma(t);

/** Each text in a document of its own. */
function corpusOf(texts: readonly string[]): CorpusSource {
  return {
    path: 'memory',
    async *chunks() {
      for (const [index, text] of texts.entries()) {
        yield { documentId: `doc-${index}`, chunk: 0, title: null, source: null, text, metadata: {} };
      }
    },
  };
}

async function build(name: string, texts: readonly string[], embedding: Embedding) {
  const options = {
    rankZero: new MemoryRankZero(),
    connection,
    corpus: corpusOf(texts),
    embedding,
    collectionName: name,
    resetCollection: 'always' as const,
    timeoutMs: 60_000,
    clock: systemClock,
    log: pino({ level: 'silent' }),
  };
  const { collection, embedder } = await new Bootstrap(options).run(new AbortController().signal);
  const nearest = async (query: string) => {
    const [vector] = await embedder.embedQueries([query]);
    if (!(vector instanceof Float32Array)) throw new Error('no vector');
    const [found] = await succeeds(collection.query([vector], { topK: 1, ...limits }));
    return found?.[0]?.text;
  };
  return { collection, embedder, nearest };
}

t.test('lexical: the one sentence that is different, among 1,500 of twenty kinds', async (t) => {
  const different = 'The zebra crossed quietly beyond turquoise horizons.';
  const texts = Array.from({ length: 1_500 }, (_unused, index) =>
    index === 750 ? different : `Boilerplate kind${index % 20}a says thing${index % 20}b again.`,
  );
  // Graphs grow by chance. Nineteen of twenty reach the sentence, and without the jitter one of six.
  let found = 0;
  for (let count = 0; count < BUILDS; count += 1) {
    const { collection, embedder, nearest } = await build('repeated', texts, lexicalEmbedding);
    if ((await nearest('Where did the zebra cross?')) === different) found += 1;
    t.equal(await nearest('What does kind7a say?'), 'Boilerplate kind7a says thing7b again.');
    t.same(await collection.isMadeBy(embedder, limits), { kind: 'ok', value: true }, 'known as its own');
  }
  t.ok(found > BUILDS / 2, `found in ${found} of ${BUILDS} builds`);
});

t.test('a server: each of 100 texts, among 600 copies of two', async (t) => {
  const dimensions = 64;
  /** The same for the same text, and else anywhere. */
  const vectorOf = (text: string): Float32Array => {
    let state = [...text].reduce((sum, char) => Math.imul(sum, 31) + char.charCodeAt(0), 7);
    return Float32Array.from({ length: dimensions }, () => {
      state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
      return state / 2 ** 31;
    });
  };
  const embedder: Embedder = {
    fingerprint: 'test/1',
    dimensions,
    embedDocuments: (texts) => Promise.resolve(texts.map(vectorOf)),
    embedQueries: (texts) => Promise.resolve(texts.map(vectorOf)),
  };
  const texts = Array.from({ length: 700 }, (_unused, number) =>
    number % 7 === 0 ? `text ${number}` : `copy of ${number % 2}`,
  );
  const createEmbedder: Embedding['createEmbedder'] = async (chunks) => {
    // It depends on no corpus, but has to hear all of it.
    for await (const _chunk of chunks);
    return embedder;
  };
  const built = await build('copies', texts, { index: serverIndex, createEmbedder });
  const lost = [];
  for (let number = 0; number < 700; number += 7) {
    if ((await built.nearest(`text ${number}`)) !== `text ${number}`) lost.push(number);
  }
  // Without the jitter nearly every graph misses several, and many a tenth.
  t.ok(lost.length <= 2, `lost: ${lost.join()}`);
  t.same(await built.collection.isMadeBy(embedder, limits), { kind: 'ok', value: true }, 'known as its own');
});

t.test('what a question finds does not depend on it', (t) => {
  const jitter = new Jitter();
  const withFree = Float32Array.of(3, 0, -4, 0, 0);
  const moved = [1, 2].map(() => jitter.applied(withFree, { freeDimensions: 2 }));
  for (const vector of moved) t.same(vector.slice(0, 3), [3, 0, -4], 'where a question has numbers');
  t.notSame(moved[0], moved[1]);
  const whole = Float32Array.from({ length: 384 }, (_unused, at) => Math.sin(at));
  const difference = jitter.applied(whole, {}).map((value, at) => value - (whole[at] ?? 0));
  const ratio = Math.hypot(...difference) / Math.hypot(...whole);
  t.ok(ratio > 0.002 && ratio < 0.004, `${ratio} of its length`);
  t.end();
});
