// How well the default embedder finds: the share of questions whose document comes first, or among the first five, by
// exact search over its vectors, through the index as the service builds and asks it, and by BM25 itself on the same terms.
// Usage: npm run bench:retrieval [-- <folder with documents.jsonl and questions.jsonl>]

import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { indexedText, LexicalEmbedder } from '../src/chroma/lexical-embedder.ts';
import { lexicalEmbedding } from '../src/chroma/lexical-embedding.ts';
import { CorpusStatistics } from '../src/chroma/lexical-statistics.ts';
import { chunkWeights } from '../src/chroma/lexical-weights.ts';
import { termsOf } from '../src/chroma/terms.ts';
import type { CorpusChunk } from '../src/domain/corpus.ts';
import { RealIndex } from './parts/real-index.ts';

interface Question {
  readonly query: string;
  readonly document_id: string;
}

const folder = resolve(process.argv[2] ?? fileURLToPath(new URL('../../shared/data/xquad', import.meta.url)));

function readLines<Line>(path: string): Line[] {
  if (!existsSync(path)) {
    console.error(
      `${path} is absent. Name a folder with documents.jsonl (id, text, title) and questions.jsonl (query, document_id).`,
    );
    process.exit(1);
  }
  const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
  return lines.map((line): Line => JSON.parse(line));
}

/** Place of the wanted document, 1 = first. Equals count as before it, so that a flat measure cannot shine. */
function placeOf(wanted: number, scores: readonly number[]): number {
  const score = scores[wanted] ?? Number.NEGATIVE_INFINITY;
  return scores.filter((other) => other >= score).length;
}

function report(name: string, places: readonly number[]): void {
  const share = (hits: number) => (hits / places.length).toFixed(3);
  const first = share(places.filter((place) => place === 1).length);
  const firstFive = share(places.filter((place) => place <= 5).length);
  const reciprocal = share(places.reduce((sum, place) => sum + 1 / place, 0));
  console.log(`${name.padEnd(30)} hit@1 ${first}  hit@5 ${firstFive}  MRR ${reciprocal}`);
}

function dot(left: Float32Array, right: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < left.length; at++) sum += (left[at] ?? 0) * (right[at] ?? 0);
  return sum;
}

async function microsecondsEach(count: number, work: () => Promise<unknown>): Promise<string> {
  const begin = performance.now();
  await work();
  return (((performance.now() - begin) * 1000) / count).toFixed(0);
}

const documents = readLines<{ id: string; text: string; title?: string }>(join(folder, 'documents.jsonl'));
const questions = readLines<Question>(join(folder, 'questions.jsonl'));
const texts = documents.map((document): string => {
  const chunk: CorpusChunk = {
    documentId: document.id,
    chunk: 0,
    title: null,
    source: null,
    metadata: {},
    text: '',
  };
  return indexedText({ ...chunk, title: document.title ?? null, text: document.text });
});
const wanted = questions.map((question) => documents.findIndex(({ id }) => id === question.document_id));
const queries = questions.map(({ query }) => query);

const statistics = new CorpusStatistics();
for (const text of texts) statistics.observe(text);
const embedder = new LexicalEmbedder(statistics);
const documentVectors = await embedder.embedDocuments(texts);
const queryVectors = await embedder.embedQueries(queries);

console.log(
  `${documents.length} documents, ${questions.length} questions, ${embedder.dimensions} dimensions`,
);
report(
  'lexical embedder, exact search',
  queryVectors.map((query, at) =>
    query === null
      ? documents.length
      : placeOf(
          wanted[at] ?? -1,
          documentVectors.map((vector) => dot(query, vector)),
        ),
  ),
);
const weights = texts.map(chunkWeights);
report(
  'BM25 (no vectors)',
  queries.map((query, at) => {
    const terms = [...new Set(termsOf(query))];
    const score = (weightOf: Map<string, number>) =>
      terms.reduce((sum, term) => sum + statistics.idf(term) * (weightOf.get(term) ?? 0), 0);
    return placeOf(wanted[at] ?? -1, weights.map(score));
  }),
);
await using built = await RealIndex.build(join(folder, 'documents.jsonl'), lexicalEmbedding.index);
const served = await built.retrieve(queries, 5);
report(
  'through the index, as served',
  questions.map(({ document_id }, at) => {
    const place = served[at]?.findIndex(({ id }) => id.slice(0, id.lastIndexOf('#')) === document_id) ?? -1;
    return place < 0 ? documents.length : place + 1;
  }),
);
const perDocument = await microsecondsEach(texts.length, () => embedder.embedDocuments(texts));
const perQuery = await microsecondsEach(queries.length, () => embedder.embedQueries(queries));
console.log(`embedding, warm: ${perQuery} µs a question, ${perDocument} µs a document`);
