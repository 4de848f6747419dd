// The lexical embedder: nearness as BM25 sees it, distances that mean something, vectors that can be trusted.

import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { indexedText, LexicalEmbedder } from '../../src/chroma/lexical-embedder.ts';
import { CorpusStatistics } from '../../src/chroma/lexical-statistics.ts';
import { termsOf } from '../../src/chroma/terms.ts';

const corpus = [
  'Ragmill keeps one queue per GPU endpoint and grows its window.',
  'The collection is rebuilt by rank 0 from the corpus at every start.',
  'A batch is a file of questions; a line is one question of the batch.',
  'Lines of a batch survive a crash because the store is the only truth.',
];

function setup(texts: readonly string[] = corpus) {
  const statistics = new CorpusStatistics();
  for (const text of texts) statistics.observe(text);
  return { statistics, embedder: new LexicalEmbedder(statistics) };
}

function dot(left: Float32Array, right: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < left.length; at++) sum += (left[at] ?? 0) * (right[at] ?? 0);
  return sum;
}

/** Distances as Chroma's inner product space has them. */
async function distances(
  embedder: LexicalEmbedder,
  question: string,
  texts: readonly string[],
): Promise<number[]> {
  const [query] = await embedder.embedQueries([question]);
  if (!query) throw new Error('the question has no vector');
  return (await embedder.embedDocuments(texts)).map((vector) => 1 - dot(query, vector));
}

t.test('the passage that shares the rare terms is nearest, in whatever form they stand', async (t) => {
  const { embedder } = setup();
  for (const [question, wanted] of [
    ['Which queues does an endpoint have?', 0],
    ['Who rebuilds collections?', 1],
    ['Do lines survive crashes?', 3],
  ] as const) {
    const found = await distances(embedder, question, corpus);
    t.equal(found.indexOf(Math.min(...found)), wanted, question);
  }
});

t.test(
  'distance is about 1 where nothing is shared and nears 0 where every word of the question stands often',
  async (t) => {
    const { embedder } = setup();
    const [none = 0, full = 1] = await distances(embedder, 'queue endpoint', [
      corpus[1] ?? '',
      'queue endpoint '.repeat(9),
    ]);
    t.ok(Math.abs(none - 1) < 0.2, `nothing shared: ${none}`);
    t.ok(full < 0.35 && full > 0, `everything shared: ${full}`);
  },
);

t.test('words of the question that the corpus lacks make every passage farther', async (t) => {
  const { embedder } = setup();
  const [known = 1] = await distances(embedder, 'queue', corpus);
  const [diluted = 0] = await distances(embedder, 'queue of the zeppelin', corpus);
  t.ok(diluted > known + 0.1, `${diluted} > ${known}`);
});

t.test('a question that shares no term with the corpus has no vector', async (t) => {
  const { embedder } = setup();
  const [foreign, empty, functionWords, known] = await embedder.embedQueries([
    'zeppelin',
    '',
    'What is it?',
    'batch',
  ]);
  t.same([foreign, empty, functionWords], [null, null, null]);
  t.equal(known?.length, embedder.dimensions);
});

t.test(
  'similarity is exactly 0 without a shared term, and close to what the vectors say with one',
  async (t) => {
    const { embedder } = setup();
    const question = 'When does a window grow?';
    const similarities = embedder.similarities(question, corpus);
    const found = await distances(embedder, question, corpus);
    t.same(similarities.slice(1), [0, 0, 0]);
    for (const [at, similarity] of similarities.entries()) {
      t.ok(Math.abs(1 - similarity - (found[at] ?? 0)) < 0.2, `${at}: ${similarity}`);
    }
    t.same(embedder.similarities('?', corpus), [0, 0, 0, 0]);
  },
);

t.test('a text without terms gets a zero vector, which is near to nothing', async (t) => {
  const { embedder } = setup();
  const [vector] = await embedder.embedDocuments(['… — !']);
  t.ok(vector?.every((value) => value === 0));
});

t.test('vectors are finite, whatever the texts are', async () => {
  const texts = fc.array(fc.string({ unit: 'binary', maxLength: 80 }), { maxLength: 6 });
  const property = fc.asyncProperty(texts, texts, async (observed, asked) => {
    const { embedder } = setup(observed);
    const vectors = [...(await embedder.embedDocuments(asked)), ...(await embedder.embedQueries(observed))];
    return vectors.every((vector) => vector === null || vector.every(Number.isFinite));
  });
  await fc.assert(property, { numRuns: 50 });
});

t.test(
  'the same corpus in another order gives the same fingerprint and vectors, another corpus does not',
  async (t) => {
    const one = setup().embedder;
    const reversed = setup(corpus.toReversed()).embedder;
    const other = setup([...corpus, 'One more.']).embedder;
    t.equal(one.fingerprint, reversed.fingerprint);
    t.same(await one.embedDocuments(corpus), await reversed.embedDocuments(corpus));
    t.not(one.fingerprint, other.fingerprint);
  },
);

t.test('the commonest terms collide with nothing', async (t) => {
  const rare = Array.from({ length: 3_000 }, (_unused, at) => `rare${at}`);
  const common = ['glacier', 'moraine', 'lens'];
  const { embedder, statistics } = setup(rare.map((word) => `${word} ${common.join(' ')}`));
  t.same(new Set(statistics.commonestTerms(3)), new Set(termsOf(common.join(' '))));
  t.same(statistics.commonestTerms(9).slice(3), [
    'rare0',
    'rare1',
    'rare10',
    'rare100',
    'rare1000',
    'rare1001',
  ]);
  const [question] = await embedder.embedQueries(['glacier']);
  const others = await embedder.embedDocuments(rare);
  t.equal(others.filter((vector) => question && dot(question, vector) !== 0).length, 0);
});

t.test('nothing is counted once vectors can have been made', async (t) => {
  const { statistics } = setup();
  t.throws(() => statistics.observe('late'), /counted already/);
});

t.test('a chunk is indexed with its title, once', async (t) => {
  const chunk = { documentId: 'a', chunk: 0, source: null, metadata: {} };
  t.equal(indexedText({ ...chunk, title: 'API', text: 'Results' }), 'API\nResults');
  t.equal(indexedText({ ...chunk, title: 'API', text: '# API\n\nResults' }), '# API\n\nResults');
  t.equal(
    indexedText({ ...chunk, title: 'API', text: 'API > Results\nThey stream.' }),
    'API > Results\nThey stream.',
  );
  t.equal(indexedText({ ...chunk, title: null, text: 'Results' }), 'Results');
});

const folder = new URL('../../../shared/data/xquad/', import.meta.url);
const absent = existsSync(folder) ? false : 'the public question set is not on this machine';

t.test('finds the paragraph for the questions of a public set', { skip: absent }, async (t) => {
  const read = (name: string) =>
    readFileSync(new URL(name, folder), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  const documents: { id: string; text: string }[] = read('documents.jsonl');
  const questions: { query: string; document_id: string }[] = read('questions.jsonl');
  const texts = documents.map(({ text }) => text);
  const { embedder } = setup(texts);
  const vectors = await embedder.embedDocuments(texts);
  const queries = await embedder.embedQueries(questions.map(({ query }) => query));
  const places = questions.map((question, at) => {
    const query = queries[at];
    const scores = vectors.map((vector) => (query ? dot(query, vector) : 0));
    const score = scores[documents.findIndex(({ id }) => id === question.document_id)] ?? 0;
    return scores.filter((other) => other >= score).length;
  });
  const share = (most: number) => places.filter((place) => place <= most).length / places.length;
  t.ok(share(1) >= 0.88, `first: ${share(1)}`);
  t.ok(share(5) >= 0.965, `among the first five: ${share(5)}`);
});
