// The index as the service builds and asks it: how much it finds of what exact search over the same vectors finds, and
// of what BM25 finds; how fast it is filled and asked, and what that costs. A corpus is generated, and a public question
// set mixed in where there is one.
//
//   npm run bench:index [-- --chunks=10000 --questions=500 --set=<folder> --ef-search=… --ef-construction=… --neighbors=…]

import { createWriteStream, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import pino from 'pino';
import { Bootstrap, type ReadyCollection } from '../src/chroma/bootstrap.ts';
import { ChromaConnection } from '../src/chroma/chroma-client.ts';
import type { FoundRecord } from '../src/chroma/chunk-record.ts';
import { openCorpus } from '../src/chroma/corpus-source.ts';
import { EmbeddedChroma } from '../src/chroma/embedded-server.ts';
import { candidatesFor, rankExactly } from '../src/chroma/exact-ranking.ts';
import { indexedText } from '../src/chroma/lexical-embedder.ts';
import { lexicalEmbedding } from '../src/chroma/lexical-embedding.ts';
import { CorpusStatistics } from '../src/chroma/lexical-statistics.ts';
import type { CorpusChunk } from '../src/domain/corpus.ts';
import { systemClock } from '../src/time.ts';
import { Bm25, nearestVectors } from './parts/exact-search.ts';
import { GeneratedCorpus } from './parts/generated-corpus.ts';
import { LoneRankZero } from './parts/lone-rank-zero.ts';
import { cpuMs, peakResidentMb, resetPeak } from './parts/process-figures.ts';
import { machine, report } from './parts/report.ts';

const TOP_K = 5;
/** As the retriever asks. */
const QUESTIONS_A_CALL = 64;
const CALLS_IN_FLIGHT = 2;
const ASKING_SECONDS = 15;

const { values } = parseArgs({
  options: {
    chunks: { type: 'string', default: '10000' },
    questions: { type: 'string', default: '500' },
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

const folder = mkdtempSync(join(tmpdir(), 'ragmill-bench-'));
const chroma = new EmbeddedChroma({
  dataDir: join(folder, 'chroma'),
  log: pino({ level: 'warn' }),
  clock: systemClock,
});
try {
  console.log(`${machine()}, load ${loadavg()[0]?.toFixed(1)}`);
  console.log(JSON.stringify(index));
  const { generated, known } = await writeCorpus(join(folder, 'corpus.jsonl'));
  const { url } = await chroma.start();
  const serverPid = chroma.pid ?? 0;
  const corpus = openCorpus({
    path: join(folder, 'corpus.jsonl'),
    chunkCharacters: 1500,
    log: pino({ level: 'warn' }),
  });
  const ready = await build(corpus, new ChromaConnection({ url }), serverPid);
  const measured = new Map<string, Question[]>([['generated questions', generated]]);
  if (known.length > 0) measured.set('public question set', known);
  await measureQuality(corpus.chunks(), ready, measured);
  await measureSpeed(ready, [...known, ...generated], serverPid);
} finally {
  await chroma.stop();
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
  const source = new GeneratedCorpus();
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

async function build(
  corpus: ReturnType<typeof openCorpus>,
  connection: ChromaConnection,
  serverPid: number,
): Promise<ReadyCollection> {
  resetPeak(process.pid);
  const before = { ms: performance.now(), client: cpuMs(process.pid), server: cpuMs(serverPid) };
  let filledFromMs = before.ms;
  const bootstrap = new Bootstrap({
    rankZero: new LoneRankZero(),
    connection,
    corpus,
    embedding: { ...lexicalEmbedding, index },
    collectionName: 'bench',
    resetCollection: 'always',
    timeoutMs: 60_000,
    clock: systemClock,
    log: pino({ level: 'warn' }),
  });
  const watch = setInterval(() => {
    if (bootstrap.state.phase !== 'filling') filledFromMs = performance.now();
  }, 20);
  const ready = await bootstrap.run(new AbortController().signal);
  clearInterval(watch);
  const seconds = (performance.now() - before.ms) / 1000;
  const filling = (performance.now() - Math.min(filledFromMs, performance.now() - 1)) / 1000;
  const { count } = ready.record;
  report(`${count} chunks, ${ready.embedder.dimensions} dimensions`, [
    ['seconds to READY', seconds.toFixed(1)],
    ['of these filling', `${filling.toFixed(1)} (${(count / filling).toFixed(0)} chunks a second)`],
    ['processor seconds, ours', ((cpuMs(process.pid) - before.client) / 1000).toFixed(1)],
    ['processor seconds, Chroma', ((cpuMs(serverPid) - before.server) / 1000).toFixed(1)],
    ['peak MB, ours', peakResidentMb(process.pid).toFixed(0)],
    ['peak MB, Chroma', peakResidentMb(serverPid).toFixed(0)],
  ]);
  return ready;
}

async function measureQuality(
  chunks: AsyncIterable<CorpusChunk>,
  ready: ReadyCollection,
  measured: ReadonlyMap<string, readonly Question[]>,
): Promise<void> {
  const ids: string[] = [];
  const texts: string[] = [];
  const statistics = new CorpusStatistics();
  for await (const chunk of chunks) {
    ids.push(`${chunk.documentId}#${chunk.chunk}`);
    texts.push(indexedText(chunk));
    statistics.observe(indexedText(chunk));
  }
  const bm25 = new Bm25(statistics);
  for (const text of texts) bm25.add(text);
  const vectors = await ready.embedder.embedDocuments(texts);
  for (const [title, questions] of measured) {
    const queries = questions.map(({ query }) => query);
    const asked = await ready.embedder.embedQueries(queries);
    const few = await ask(ready, queries, TOP_K);
    const many = await ask(ready, queries, candidatesFor(ready.embedder, TOP_K));
    const idsOf = (records: readonly FoundRecord[]) => records.map(({ id }) => id);
    const exact = asked.map((vector) =>
      vector === null ? [] : nearestVectors(vector, vectors, TOP_K).map(({ chunk }) => ids[chunk] ?? ''),
    );
    const byTerms = queries.map((query) => bm25.search(query, TOP_K).map(({ chunk }) => ids[chunk] ?? ''));
    const ranked = many.map((records, at) =>
      idsOf(rankExactly(ready.embedder, { query: queries[at] ?? '', topK: TOP_K }, records)),
    );
    const hits = (found: readonly (readonly string[])[]) => [
      hitShare(questions, found, 1),
      hitShare(questions, found, 5),
    ];
    const rows: [string, string][] = [
      ['recall@5 of the index against exact search', recall(exact, few.map(idsOf)).toFixed(4)],
      ['the same, among the candidates', recall(exact, many.map(idsOf)).toFixed(4)],
      ['recall@5 of exact search against BM25', recall(byTerms, exact).toFixed(4)],
      ['recall@5 of what the service gives', recall(byTerms, ranked).toFixed(4)],
    ];
    if (questions.some(({ documentId }) => documentId !== null)) {
      rows.push(['hit@1, hit@5: exact search', hits(exact).join(', ')]);
      rows.push(['hit@1, hit@5: what the service gives', hits(ranked).join(', ')]);
      rows.push(['hit@1, hit@5: BM25', hits(byTerms).join(', ')]);
    }
    report(`${title} (${queries.length})`, rows);
  }
}

function recall(wanted: readonly (readonly string[])[], found: readonly (readonly string[])[]): number {
  const shares = wanted.flatMap((ids, at) =>
    ids.length === 0 ? [] : [ids.filter((id) => found[at]?.includes(id)).length / ids.length],
  );
  return shares.reduce((sum, share) => sum + share, 0) / shares.length;
}

function hitShare(
  questions: readonly Question[],
  found: readonly (readonly string[])[],
  top: number,
): string {
  const hits = questions.filter(({ documentId }, at) =>
    found[at]?.slice(0, top).some((id) => id.slice(0, id.lastIndexOf('#')) === documentId),
  );
  return (hits.length / questions.length).toFixed(3);
}

/** What the index finds for each question, asked as the retriever asks. */
async function ask(
  ready: ReadyCollection,
  queries: readonly string[],
  topK: number,
): Promise<FoundRecord[][]> {
  const vectors = await ready.embedder.embedQueries(queries);
  const found: FoundRecord[][] = queries.map(() => []);
  const calls: number[][] = [];
  for (const [at, vector] of vectors.entries()) {
    if (vector === null) continue;
    const last = calls.at(-1);
    if (last !== undefined && last.length < QUESTIONS_A_CALL) last.push(at);
    else calls.push([at]);
  }
  const run = async () => {
    for (let call = calls.shift(); call !== undefined; call = calls.shift()) {
      const asked = call.flatMap((at) => vectors[at] ?? []);
      const answer = await ready.collection.query(asked, { topK, timeoutMs: 60_000 });
      if (answer.kind === 'failure') throw new Error(answer.message);
      for (const [place, records] of answer.value.entries()) found[call[place] ?? 0] = records;
    }
  };
  await Promise.all(Array.from({ length: CALLS_IN_FLIGHT }, run));
  return found;
}

async function measureSpeed(
  ready: ReadyCollection,
  questions: readonly Question[],
  serverPid: number,
): Promise<void> {
  const queries = questions.map(({ query }) => query);
  const candidates = candidatesFor(ready.embedder, TOP_K);
  const before = { ms: performance.now(), client: cpuMs(process.pid), server: cpuMs(serverPid) };
  let asked = 0;
  while (performance.now() - before.ms < ASKING_SECONDS * 1000) {
    const found = await ask(ready, queries, candidates);
    for (const [at, records] of found.entries()) {
      rankExactly(ready.embedder, { query: queries[at] ?? '', topK: TOP_K }, records);
    }
    asked += queries.length;
  }
  const seconds = (performance.now() - before.ms) / 1000;
  report(
    `asking, ${QUESTIONS_A_CALL} questions a call, ${CALLS_IN_FLIGHT} calls in flight, ${candidates} candidates each`,
    [
      ['questions a second', (asked / seconds).toFixed(0)],
      ['Chroma, processor milliseconds a question', ((cpuMs(serverPid) - before.server) / asked).toFixed(2)],
      ['ours, processor milliseconds a question', ((cpuMs(process.pid) - before.client) / asked).toFixed(2)],
    ],
  );
}
