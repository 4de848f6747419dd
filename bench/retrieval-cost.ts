// What a question costs Chroma when the running service asks it, beside a bare loop that asks the same collection in the
// same Chroma process for the same vectors and as many records. First each batch size asks a part of the questions; then
// the service and the best loop take turns with whole batches, so that neither a machine that is busy for a while nor
// a loop that was lucky once decides.
//
//   npm run bench:retrieval-cost [-- --chunks=10000 --questions=2000 --scan-questions=512 --rounds=3
//     --sizes=1,4,16,32,64,128,256 --profile=<folder> --json=<file>]

import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import pino from 'pino';
import { BoundCollection } from '../src/chroma/bound-collection.ts';
import { ChromaConnection } from '../src/chroma/chroma-client.ts';
import { openCorpus } from '../src/chroma/corpus-source.ts';
import { EmbeddedChroma } from '../src/chroma/embedded-server.ts';
import { candidatesFor } from '../src/chroma/exact-ranking.ts';
import { lexicalEmbedding } from '../src/chroma/lexical-embedding.ts';
import { ServiceProcess } from '../src/cli/service-process.ts';
import { systemClock } from '../src/time.ts';
import { FollowedBatch } from './parts/followed-batch.ts';
import { GeneratedCorpus } from './parts/generated-corpus.ts';
import { startInstantModel } from './parts/instant-model.ts';
import { cpuMs } from './parts/process-figures.ts';
import { FigureReport, figure } from './parts/report.ts';

const TOP_K = 5;
const TIMEOUT_MS = 60_000;
const CONCURRENCIES = [1, 2];
const COLUMNS = 'processor ms a question of Chroma, of who asks; questions a second';
/** What is asked of the service's cost: at most so many times the best loop's. */
const RATIO_MAX = 1.25;

const { values } = parseArgs({
  options: {
    chunks: { type: 'string', default: '10000' },
    questions: { type: 'string', default: '2000' },
    /** Asked with each batch size. */
    'scan-questions': { type: 'string', default: '512' },
    rounds: { type: 'string', default: '3' },
    sizes: { type: 'string', default: '1,4,16,32,64,128,256' },
    /** Where the service's threads leave their processor profiles, the main thread's being the one of thread 0. */
    profile: { type: 'string' },
    json: { type: 'string' },
  },
});
const chunkCount = Number(values.chunks);
const questionCount = Number(values.questions);
const scanCount = Number(values['scan-questions']);

interface Asked {
  readonly query: string;
  readonly vector: Float32Array;
}

interface Cost {
  readonly chromaMs: number;
  /** Of the service, or of this process. */
  readonly ownMs: number;
  readonly wallMs: number;
}

interface Contender {
  readonly name: string;
  readonly ownPid: number;
  readonly ask: (questions: readonly Asked[]) => Promise<void>;
  readonly costs: Cost[];
}

await using opened = new AsyncDisposableStack();
const folder = mkdtempSync(join(tmpdir(), 'ragmill-bench-'));
opened.defer(() => rmSync(folder, { recursive: true }));
const log = pino({ level: 'warn' });
const source = new GeneratedCorpus();
const corpusPath = join(folder, 'corpus.jsonl');
await writeCorpus();
const chroma = new EmbeddedChroma({ dataDir: join(folder, 'chroma'), log, clock: systemClock });
opened.defer(() => chroma.stop());
const { url: chromaUrl } = await chroma.start();
const chromaPid = chroma.pid ?? 0;
const service = await startService();
const collection = await collectionInUse();
const { topK, rounds } = await embedded();
const report = new FigureReport('what a question costs Chroma');
console.log(`${chunkCount} chunks, ${topK} records each`);
const best = await bestLoop();
await takeTurns(best);
report.write(values.json);

async function writeCorpus(): Promise<void> {
  const lines = function* () {
    for (const chunk of source.chunks(chunkCount)) yield `${JSON.stringify(chunk)}\n`;
  };
  await pipeline(Readable.from(lines()), createWriteStream(corpusPath));
}

async function startService(): Promise<ServiceProcess> {
  const model = opened.use(await startInstantModel());
  const nodeArguments =
    values.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${values.profile}`];
  const started = new ServiceProcess(
    {
      CHROMA_URL: chromaUrl,
      CORPUS_PATH: corpusPath,
      RAG_MODE: 'retrieve',
      RAG_TOP_K: String(TOP_K),
      GPU_ENDPOINTS: model.url,
      GPU_CONCURRENCY: '64',
    },
    { nodeArguments },
  );
  opened.defer(() => started.stop());
  await started.ready(() => {});
  return started;
}

async function collectionInUse(): Promise<BoundCollection> {
  const { uuid } = (await (await fetch(`${service.url}/collection`)).json()) as { uuid: string };
  return new BoundCollection(new ChromaConnection({ url: chromaUrl }), uuid);
}

/** Questions that differ, each round its own, with the vectors that the service makes of them. */
async function embedded(): Promise<{ topK: number; rounds: Asked[][] }> {
  const corpus = openCorpus({ path: corpusPath, chunkCharacters: 1500, log });
  const embedder = await lexicalEmbedding.createEmbedder(corpus.chunks());
  const wanted = Number(values.rounds) * questionCount;
  // One word of each may be unknown, and some questions come twice.
  const queries = [...new Set(source.questions(2 * wanted, chunkCount))];
  const vectors = await embedder.embedQueries(queries);
  const asked = queries.flatMap((query, at) => {
    const vector = vectors[at];
    return vector instanceof Float32Array ? [{ query, vector }] : [];
  });
  return {
    topK: candidatesFor(embedder, TOP_K),
    rounds: Array.from({ length: Number(values.rounds) }, (_, round) =>
      asked.slice(round * questionCount, (round + 1) * questionCount),
    ),
  };
}

/** The loop that costs Chroma least, of all sizes, with one call in flight and with two. */
async function bestLoop(): Promise<Contender> {
  const [questions = []] = rounds;
  const step = Math.max(1, Math.floor(questions.length / scanCount));
  const some = questions.filter((_question, at) => at % step === 0).slice(0, scanCount);
  // So that the first to ask does not pay for what Chroma reads from disk.
  await askBare(some, 64, 1);
  const loops = CONCURRENCIES.flatMap((concurrency) =>
    values.sizes.split(',').map((size): Contender => {
      return {
        name: `loop, ${size} a call, ${concurrency} in flight`,
        ownPid: process.pid,
        ask: (asked) => askBare(asked, Number(size), concurrency),
        costs: [],
      };
    }),
  );
  console.log(`\n${some.length} questions with each batch size\n  ${COLUMNS}`);
  for (const loop of loops) await measure(loop, some);
  const [found] = loops.sort((left, right) => chromaMs(left) - chromaMs(right));
  if (!found) throw new Error('there is no batch size');
  return { ...found, costs: [] };
}

async function takeTurns(loop: Contender): Promise<void> {
  const running: Contender = { name: 'the service', ownPid: service.pid ?? 0, ask: askService, costs: [] };
  console.log(`\n${rounds.length} rounds of ${questionCount} questions each\n  ${COLUMNS}`);
  for (const [round, questions] of rounds.entries()) {
    for (const one of round % 2 === 0 ? [running, loop] : [loop, running]) await measure(one, questions);
  }
  const ratio = chromaMs(running) / chromaMs(loop);
  const byRound = running.costs.map((cost, at) => cost.chromaMs / (loop.costs[at]?.chromaMs ?? Number.NaN));
  report.table('the service against the best loop', [
    figure("the service: Chroma's processor time", chromaMs(running), 'ms a question'),
    figure("the loop: Chroma's processor time", chromaMs(loop), 'ms a question'),
    figure("ratio of Chroma's processor time", ratio, '', { atMost: RATIO_MAX }),
    figure('the same in the round where it was least', Math.min(...byRound)),
    figure('the same in the round where it was most', Math.max(...byRound)),
  ]);
  if (!(ratio <= RATIO_MAX)) process.exitCode = 1;
}

/** One batch. Throws unless every question got its documents. */
async function askService(questions: readonly Asked[]): Promise<void> {
  const queryOf = (line: number) => questions[line - 1]?.query ?? '';
  const batch = await FollowedBatch.start(service.url, questions.length, queryOf);
  await batch.ended;
  const { rag_counts: counts } = (await (await fetch(batch.url)).json()) as {
    rag_counts: { success: number };
  };
  if (counts.success !== questions.length) throw new Error(`not all retrieved: ${JSON.stringify(counts)}`);
}

async function askBare(questions: readonly Asked[], size: number, concurrency: number): Promise<void> {
  const open = [...questions];
  const run = async () => {
    for (let call = open.splice(0, size); call.length > 0; call = open.splice(0, size)) {
      const vectors = call.map(({ vector }) => vector);
      const found = await collection.query(vectors, { topK, timeoutMs: TIMEOUT_MS });
      if (found.kind === 'failure') throw new Error(found.message);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, run));
}

async function measure(contender: Contender, questions: readonly Asked[]): Promise<void> {
  const before = { chroma: cpuMs(chromaPid), own: cpuMs(contender.ownPid), wall: performance.now() };
  await contender.ask(questions);
  const cost = {
    chromaMs: (cpuMs(chromaPid) - before.chroma) / questions.length,
    ownMs: (cpuMs(contender.ownPid) - before.own) / questions.length,
    wallMs: (performance.now() - before.wall) / questions.length,
  };
  contender.costs.push(cost);
  const { chromaMs, ownMs, wallMs } = cost;
  const figures = [chromaMs.toFixed(2), ownMs.toFixed(2), (1000 / wallMs).toFixed(0)];
  console.log(`  ${contender.name.padEnd(40)} ${figures.map((figure) => figure.padStart(8)).join('')}`);
}

/** Of all rounds, a question. */
function chromaMs({ costs }: Contender): number {
  return costs.reduce((sum, cost) => sum + cost.chromaMs, 0) / costs.length;
}
