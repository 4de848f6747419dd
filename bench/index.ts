// The index as the service builds and asks it: how much it finds of what exact search over the same vectors finds, and
// of what BM25 finds; how fast it is filled and asked, and what that costs. A corpus is generated, and a public question
// set mixed in where there is one.
//
//   npm run bench:index [-- --chunks=10000 --questions=500 --copies=0 --set=<folder>
//     --ef-search=… --ef-construction=… --neighbors=…]
//
// --copies is the part of the generated chunks that have one of two texts. --ef-search is that of a collection of 10,000 chunks; a larger one gets more.

import { createWriteStream, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { recordId } from '../src/chroma/chunk-record.ts';
import { candidatesFor } from '../src/chroma/exact-ranking.ts';
import { indexFor } from '../src/chroma/index-effort.ts';
import { indexedText } from '../src/chroma/lexical-embedder.ts';
import { lexicalEmbedding } from '../src/chroma/lexical-embedding.ts';
import { CorpusStatistics } from '../src/chroma/lexical-statistics.ts';
import { Bm25, nearestVectors } from './parts/exact-search.ts';
import { GeneratedCorpus } from './parts/generated-corpus.ts';
import { cpuMs, peakResidentMb, resetPeak } from './parts/process-figures.ts';
import { CALLS_IN_FLIGHT, QUESTIONS_A_CALL, RealIndex } from './parts/real-index.ts';
import { machine, report } from './parts/report.ts';

const TOP_K = 5;
const ASKING_SECONDS = 15;

const { values } = parseArgs({
  options: {
    chunks: { type: 'string', default: '10000' },
    questions: { type: 'string', default: '500' },
    copies: { type: 'string', default: '0' },
    set: { type: 'string', default: fileURLToPath(new URL('../../shared/data/xquad', import.meta.url)) },
    'ef-search': { type: 'string' },
    'ef-construction': { type: 'string' },
    neighbors: { type: 'string' },
  },
});
const index = {
  ...lexicalEmbedding.index,
  ...(values['ef-search'] === undefined ? {} : { ef_search: Number(values['ef-search']) }),
  ...(values['ef-construction'] === undefined ? {} : { ef_construction: Number(values['ef-construction']) }),
  ...(values.neighbors === undefined ? {} : { max_neighbors: Number(values.neighbors) }),
};

interface Question {
  readonly query: string;
  /** Known for the public set only. */
  readonly documentId: string | null;
}

type Found = readonly (readonly string[])[];

const folder = mkdtempSync(join(tmpdir(), 'ragmill-bench-'));
try {
  console.log(`${machine()}, load ${loadavg()[0]?.toFixed(1)}`);
  console.log(JSON.stringify(indexFor(index, Number(values.chunks))));
  const path = join(folder, 'corpus.jsonl');
  const { generated, known } = await writeCorpus(path);
  await using built = await build(path);
  await measureSpeed(built, [...known, ...generated]);
  const measured = new Map<string, Question[]>([['generated questions', generated]]);
  if (known.length > 0) measured.set('public question set', known);
  await measureQuality(built, measured);
} finally {
  rmSync(folder, { recursive: true });
}

function readLines(name: string): Record<string, string>[] {
  const path = join(values.set, name);
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
  return lines.map((line): Record<string, string> => JSON.parse(line));
}

/** Returns the questions about it. */
async function writeCorpus(path: string): Promise<{ generated: Question[]; known: Question[] }> {
  const documents = readLines('documents.jsonl');
  const source = new GeneratedCorpus(Number(values.copies));
  const generatedCount = Number(values.chunks) - documents.length;
  const lines = function* () {
    for (const document of documents) yield `${JSON.stringify(document)}\n`;
    for (const chunk of source.chunks(generatedCount)) yield `${JSON.stringify(chunk)}\n`;
  };
  await pipeline(Readable.from(lines()), createWriteStream(path));
  const count = Number(values.questions);
  const known = readLines('questions.jsonl').map(({ query = '', document_id = null }) => {
    return { query, documentId: document_id };
  });
  const generated = [...source.questions(count, generatedCount)].map((query) => {
    return { query, documentId: null };
  });
  return { generated, known: spread(known, count) };
}

/** So many of them, from everywhere in the list. */
function spread<Item>(items: readonly Item[], count: number): Item[] {
  const step = Math.max(1, items.length / count);
  return items.filter((_item, at) => Math.floor(at / step) !== Math.floor((at - 1) / step));
}

async function build(path: string): Promise<RealIndex> {
  resetPeak(process.pid);
  const before = { ms: 0, client: 0, server: 0 };
  const built = await RealIndex.build(path, index, (pid) => {
    Object.assign(before, { ms: performance.now(), client: cpuMs(process.pid), server: cpuMs(pid) });
  });
  const { ready, serverPid, fillingMs } = built;
  const { count } = ready.record;
  report(`${count} chunks, ${ready.embedder.dimensions} dimensions`, [
    ['seconds to READY', ((performance.now() - before.ms) / 1000).toFixed(1)],
    [
      'of these filling',
      `${(fillingMs / 1000).toFixed(1)} (${((1000 * count) / fillingMs).toFixed(0)} chunks/s)`,
    ],
    ['processor seconds, ours', ((cpuMs(process.pid) - before.client) / 1000).toFixed(1)],
    ['processor seconds, Chroma', ((cpuMs(serverPid) - before.server) / 1000).toFixed(1)],
    ['peak MB, ours', peakResidentMb(process.pid).toFixed(0)],
    ['peak MB, Chroma', peakResidentMb(serverPid).toFixed(0)],
  ]);
  return built;
}

async function measureQuality(
  built: RealIndex,
  measured: ReadonlyMap<string, readonly Question[]>,
): Promise<void> {
  const ids: string[] = [];
  const texts: string[] = [];
  const statistics = new CorpusStatistics();
  for await (const chunk of built.corpus.chunks()) {
    ids.push(recordId(chunk));
    texts.push(indexedText(chunk));
    statistics.observe(indexedText(chunk));
  }
  const bm25 = new Bm25(statistics);
  for (const text of texts) bm25.add(text);
  const { embedder } = built.ready;
  const vectors = await embedder.embedDocuments(texts);
  for (const [title, questions] of measured) {
    const queries = questions.map(({ query }) => query);
    const idsOf = (found: readonly (readonly { readonly id: string }[])[]) =>
      found.map((records) => records.map(({ id }) => id));
    const asked = await embedder.embedQueries(queries);
    const exact = asked.map((vector) =>
      vector instanceof Float32Array
        ? nearestVectors(vector, vectors, TOP_K).map(({ chunk }) => ids[chunk] ?? '')
        : [],
    );
    const byTerms = queries.map((query) => bm25.search(query, TOP_K).map(({ chunk }) => ids[chunk] ?? ''));
    const few = idsOf(await built.find(queries, TOP_K));
    const many = idsOf(await built.find(queries, candidatesFor(embedder, TOP_K)));
    const served = idsOf(await built.retrieve(queries, TOP_K));
    const rows: [string, string][] = [
      ['recall@5 of the index against exact search', recall(exact, few)],
      ['the same, among the candidates', recall(exact, many)],
      ['recall@5 of exact search against BM25', recall(byTerms, exact)],
      ['recall@5 of what the service gives', recall(byTerms, served)],
    ];
    if (questions.some(({ documentId }) => documentId !== null)) {
      rows.push(['hit@1, hit@5: exact search', hits(questions, exact)]);
      rows.push(['hit@1, hit@5: what the service gives', hits(questions, served)]);
      rows.push(['hit@1, hit@5: BM25', hits(questions, byTerms)]);
    }
    report(`${title} (${queries.length})`, rows);
  }
}

function recall(wanted: Found, found: Found): string {
  const shares = wanted.flatMap((ids, at) =>
    ids.length === 0 ? [] : [ids.filter((id) => found[at]?.includes(id)).length / ids.length],
  );
  return (shares.reduce((sum, share) => sum + share, 0) / shares.length).toFixed(4);
}

function hits(questions: readonly Question[], found: Found): string {
  const share = (top: number) => {
    const hit = questions.filter(({ documentId }, at) =>
      found[at]?.slice(0, top).some((id) => id.slice(0, id.lastIndexOf('#')) === documentId),
    );
    return (hit.length / questions.length).toFixed(3);
  };
  return `${share(1)}, ${share(TOP_K)}`;
}

async function measureSpeed(built: RealIndex, questions: readonly Question[]): Promise<void> {
  const { serverPid } = built;
  const queries = questions.map(({ query }) => query);
  const before = { ms: performance.now(), client: cpuMs(process.pid), server: cpuMs(serverPid) };
  let asked = 0;
  while (performance.now() - before.ms < ASKING_SECONDS * 1000) {
    await built.retrieve(queries, TOP_K);
    asked += queries.length;
  }
  const seconds = (performance.now() - before.ms) / 1000;
  report(`asking, ${QUESTIONS_A_CALL} questions a call, ${CALLS_IN_FLIGHT} calls in flight`, [
    ['questions a second', (asked / seconds).toFixed(0)],
    ['processor milliseconds a question, Chroma', ((cpuMs(serverPid) - before.server) / asked).toFixed(2)],
    ['processor milliseconds a question, ours', ((cpuMs(process.pid) - before.client) / asked).toFixed(2)],
  ]);
}
