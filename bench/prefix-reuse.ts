// What the order of lines and passages saves model servers that keep prefixes: batches of the running service, with an
// embedded Chroma, over a corpus of which some topics are asked about far more often than others, on simulated servers with
// KV caches. Each batch stands beside plain round-robin in the order of arrival on the very sets that it retrieved: the same
// simulated servers, fed without any loss of time.
//
//   npm run bench:prefix [-- --orders=default,preserve,pin_top,full --lines=8000 --servers=8 --slots=16 --kv-tokens=32000
//     --kind=sglang --topics=300 --passages=24 --exponent=1 --share=0.16 --shape=uniform --spread=0.5 --json=<file>]
//
// --orders: values of context_order; `default` names none. --share: what the servers would answer in round-robin, as a share
// of the rate at which the service retrieves; an order that saves half of the work asks for up to twice as much.

import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import type { Passage } from '../src/domain/passage.ts';
import { type PlannedLine, plannedRuns } from './parts/planned-runs.ts';
import { type FinishedRun, PoolRun } from './parts/pool-run.ts';
import { type Figure, FigureReport, figure } from './parts/report.ts';
import { promptFor, retrievedSets } from './parts/retrieved-sets.ts';
import { answerTokensOf, type LengthShape } from './parts/slot-answer-lengths.ts';
import type { ServerCounts } from './parts/slot-counts.ts';
import type { GpuRequest } from './parts/slot-gpu.ts';
import type { SimulatedKind } from './parts/slot-server-kinds.ts';
import { type SimulatedRun, simulateRuns } from './parts/slot-simulation.ts';
import { TopicCorpus } from './parts/topic-corpus.ts';

const { values } = parseArgs({
  options: {
    orders: { type: 'string', default: 'default' },
    lines: { type: 'string', default: '8000' },
    servers: { type: 'string', default: '8' },
    slots: { type: 'string', default: '16' },
    'kv-tokens': { type: 'string', default: '32000' },
    kind: { type: 'string', default: 'sglang' },
    topics: { type: 'string', default: '300' },
    passages: { type: 'string', default: '24' },
    exponent: { type: 'string', default: '1' },
    share: { type: 'string', default: '0.16' },
    shape: { type: 'string', default: 'uniform' },
    spread: { type: 'string', default: '0.5' },
    json: { type: 'string' },
  },
});
const lineCount = Number(values.lines);
const servers = Number(values.servers);
const slots = Number(values.slots);
const lengths = { shape: values.shape as LengthShape, spread: Number(values.spread), seed: 1 };
const kind = values.kind as SimulatedKind;
const gpu = {
  kvCapacityTokens: Number(values['kv-tokens']),
  stepMs: 20,
  decodeMs: 0.2,
  prefillTokensPerMs: 8,
  chunkTokens: 2048,
};
const ANSWER_TOKENS = 40;
/** What a server takes for a token when all its slots are in use. */
const PLAN_COSTS = {
  prefill: 1 / gpu.prefillTokensPerMs,
  decode: gpu.stepMs / slots + gpu.decodeMs,
  questionTokens: 20,
  answerTokens: ANSWER_TOKENS,
};
const TOP_K = 5;
/** Asked to find out how fast the service retrieves; none of them is asked later. */
const RATE_QUESTIONS = { first: 1_000_000, count: 2_000 };
/** Of the rate of retrieval: more, and it would be retrieval that is measured. */
const DEMAND_MAX = 1 / 3;

interface Batch {
  readonly finished: FinishedRun;
  readonly sets: readonly Passage[][];
  readonly uploadedAtMs: number;
}

const corpus = new TopicCorpus({
  topics: Number(values.topics),
  passagesPerTopic: Number(values.passages),
  exponent: Number(values.exponent),
  seed: 1,
});
const textOf = new Map([...corpus.passages()].map(({ id, text }) => [id, text]));
const report = new FigureReport('prefix reuse beside round-robin');
console.log(`${servers} ${kind} servers of ${slots} slots and ${gpu.kvCapacityTokens} tokens of KV cache`);
await using opened = new AsyncDisposableStack();
const folder = mkdtempSync(join(tmpdir(), 'ragmill-bench-'));
opened.defer(() => rmSync(folder, { recursive: true }));
const corpusPath = join(folder, 'corpus.jsonl');
await pipeline(
  Readable.from([...corpus.passages()].map((passage) => `${JSON.stringify(passage)}\n`)),
  createWriteStream(corpusPath),
);
const { retrievalRate, slowness } = await findPace();
let firstSets: readonly Passage[][] | null = null;
for (const order of values.orders.split(',')) await measure(order);
report.write(values.json);

function startRun(): Promise<PoolRun> {
  const settings = { RAG_MODE: 'retrieve', RAG_TOP_K: String(TOP_K), CORPUS_PATH: corpusPath };
  const models = { servers, slots, kind, ...lengths, gpu, answerTokens: ANSWER_TOKENS };
  return PoolRun.start({ ...models, window: String(slots), settings });
}

/** How fast the service retrieves when its servers take no time, and how slow they have to be to ask for the share of it. */
async function findPace(): Promise<{ retrievalRate: number; slowness: number }> {
  await using run = await startRun();
  await slowAllDown(run, 0);
  const { first, count } = RATE_QUESTIONS;
  const { finished, sets } = await runBatch(run, count, (line) => corpus.question(first + line));
  const rate = (1000 * count) / finished.makespanMs;
  const nominal = simulateRuns(
    gpuOptions(),
    slots,
    roundRobin(sets, (line) => corpus.question(first + line)),
  );
  const nominalRate = (1000 * count) / nominal.makespanMs;
  const factor = nominalRate / (Number(values.share) * rate);
  report.table('pace', [
    figure('passages in the corpus', textOf.size),
    figure('rate of retrieval', rate, 'lines a second'),
    figure('servers in round-robin, before they are slowed down', nominalRate, 'lines a second'),
    figure('slowed down', factor, 'times'),
  ]);
  return { retrievalRate: rate, slowness: factor };
}

async function measure(order: string): Promise<void> {
  await using run = await startRun();
  await slowAllDown(run, slowness);
  const option = order === 'default' ? '' : `&context_order=${order}`;
  const batch = await runBatch(run, lineCount, questionOf, option);
  firstSets ??= batch.sets;
  const { sets } = batch;
  const dealt = simulateRuns(gpuOptions(), slots, roundRobin(sets, questionOf));
  const plan = plannedRuns(sets, order === 'default' ? 'preserve' : order, servers, PLAN_COSTS);
  const planned = plan === null ? null : simulateRuns(gpuOptions(), slots, plan.map(requestsOf));
  report.table(`context_order=${order}`, [
    ...batchFigures(batch),
    ...comparison(batch.finished, dealt, planned),
    ...endpointFigures(batch, dealt),
    figure('same sets as with the first order', shareOfSame(sets, firstSets), 'of the lines'),
    figure('processor time of the service', run.processorShare, 'of a core'),
  ]);
}

async function runBatch(
  run: PoolRun,
  lines: number,
  question: (line: number) => string,
  option = '',
): Promise<Batch> {
  let uploadedAtMs = 0;
  const uploaded = async () => {
    uploadedAtMs = Date.now();
  };
  const finished = await run.run(lines, question, uploaded, `max_tokens=128${option}`);
  return { finished, sets: await retrievedSets(finished.batch.url, textOf), uploadedAtMs };
}

function batchFigures({ finished, sets }: Batch): Figure[] {
  const demand = (1000 * sets.length) / finished.makespanMs / retrievalRate;
  const expected = sets.reduce((sum, set, index) => sum + requestOf(index + 1, set).prompt.tokens, 0);
  const seen = total(finished, 'prefilledTokens') + total(finished, 'cachedTokens');
  return [
    figure('lines', sets.length),
    figure('lines failed', finished.failed),
    figure('extra calls a line', finished.extraCalls),
    figure('lines a second / rate of retrieval', demand, '', { atMost: DEMAND_MAX }),
    figure('prompt tokens that came / expected', seen / expected),
  ];
}

function comparison(finished: FinishedRun, dealt: SimulatedRun, planned: SimulatedRun | null): Figure[] {
  const prefilled = total(finished, 'prefilledTokens');
  const plannedMs = planned === null ? null : planned.makespanMs / dealt.makespanMs;
  return [
    figure('prompt tokens cached', cachedShare(prefilled, total(finished, 'cachedTokens'))),
    figure('the same in round-robin', cachedShare(dealt.prefilledTokens, dealt.cachedTokens)),
    figure("prefill work / round-robin's", prefilled / dealt.prefilledTokens),
    figure("the planner's / round-robin's", planned && planned.prefilledTokens / dealt.prefilledTokens),
    figure('makespan, first request to last result', finished.makespanMs / 1000, 's'),
    figure("makespan / round-robin's", finished.makespanMs / (slowness * dealt.makespanMs)),
    figure("the planner's / round-robin's makespan", plannedMs),
  ];
}

function endpointFigures({ finished, uploadedAtMs }: Batch, dealt: SimulatedRun): Figure[] {
  const waitedMs = finished.counts.map(({ firstRequestAtMs }) =>
    Math.max(0, (firstRequestAtMs ?? Number.NaN) - uploadedAtMs),
  );
  const busyMs = finished.counts.map((count) => count.busyMs);
  return [
    figure('busy endpoints: most / mean', Math.max(...busyMs) / mean(busyMs)),
    figure('the same in round-robin', Math.max(...dealt.busyMs) / mean(dealt.busyMs)),
    figure('busy time of an endpoint / makespan', mean(busyMs) / finished.makespanMs),
    figure('idle after the upload, mean of the endpoints', mean(waitedMs) / 1000, 's'),
    figure('idle after the upload, at most', Math.max(...waitedMs) / 1000, 's'),
  ];
}

/** Line i goes to server i modulo their number, its passages as they were ranked. */
function roundRobin(sets: readonly Passage[][], question: (line: number) => string): GpuRequest[][] {
  const runs: GpuRequest[][] = Array.from({ length: servers }, () => []);
  for (const [index, set] of sets.entries()) {
    runs[index % servers]?.push(requestOf(index + 1, set, question));
  }
  return runs;
}

function requestsOf(run: readonly PlannedLine[]): GpuRequest[] {
  return run.map(({ line, passages }) => requestOf(line + 1, passages));
}

function requestOf(line: number, passages: readonly Passage[], question = questionOf): GpuRequest {
  const prompt = promptFor(question(line), passages);
  return { prompt, answerTokens: answerTokensOf(prompt.question, lengths, ANSWER_TOKENS) };
}

function questionOf(line: number): string {
  return corpus.question(line);
}

function gpuOptions() {
  return { ...gpu, slots, isSharedAtOnce: kind === 'vllm' };
}

async function slowAllDown(run: PoolRun, factor: number): Promise<void> {
  for (let server = 0; server < servers; server += 1) await run.models.slowDown(server, factor);
}

function total(
  { counts }: FinishedRun,
  counter: keyof Pick<ServerCounts, 'prefilledTokens' | 'cachedTokens'>,
) {
  return counts.reduce((sum, count) => sum + count[counter], 0);
}

function cachedShare(prefilled: number, cached: number): number {
  return cached / (prefilled + cached);
}

function shareOfSame(sets: readonly Passage[][], others: readonly Passage[][]): number {
  const idsOf = (set: readonly Passage[] = []) => set.map(({ documentId }) => documentId).join();
  return sets.filter((set, index) => idsOf(set) === idsOf(others[index])).length / sets.length;
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}
