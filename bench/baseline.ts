// The service against the design that came before it: workers, each of which calls retrieval and one fixed model server by
// itself, with a fixed share of the lines. Both ask the same simulated servers and the same Chroma, in turns.
//
//   uniform  all answers take the same time, and a server has as many slots as workers: what the old design is made for
//   tailed   some answers take much longer
//   wide     a server has four times as many slots as workers
//   death    one of the servers dies at 30 % of the results, for good
//
//   npm run bench:baseline [-- --scenarios=uniform,tailed,wide,death --rounds=2 --seconds=8 --servers=4 --workers=8
//     --answer=250 --json=<file>]

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ServiceProcess } from '../src/cli/service-process.ts';
import { FollowedBatch } from './parts/followed-batch.ts';
import { median } from './parts/median.ts';
import { type Figure, FigureReport, figure } from './parts/report.ts';
import { CorpusFile, ServiceChroma } from './parts/retrieval-side.ts';
import type { ServerCounts } from './parts/slot-counts.ts';
import { SlotModels } from './parts/slot-models.ts';
import { workStatically } from './parts/static-workers.ts';

interface Scenario {
  /** As SlotServerOptions. */
  readonly slots: number;
  readonly spread: number;
  readonly isDeadly: boolean;
  /** Whether workers that send everything at once are looked at too. */
  readonly withAllAtOnce: boolean;
}

interface Run {
  readonly makespanMs: number;
  /** What the lengths of its answers allow at best, all servers alive. */
  readonly boundMs: number;
  readonly longestQueue: number;
  readonly lost: number;
}

interface Contender {
  readonly name: string;
  readonly run: () => Promise<Run>;
  readonly runs: Run[];
}

const TOP_K = 5;
/** The one that dies, and when. */
const VICTIM = 1;
const DEATH_SHARE = 0.3;
const POLL_INTERVAL_MS = 100;

const { values } = parseArgs({
  options: {
    scenarios: { type: 'string', default: 'uniform,tailed,wide,death' },
    rounds: { type: 'string', default: '2' },
    /** What the workers need at best, all answers of the same length. */
    seconds: { type: 'string', default: '8' },
    servers: { type: 'string', default: '4' },
    /** Of each server. */
    workers: { type: 'string', default: '8' },
    /** Milliseconds. */
    answer: { type: 'string', default: '250' },
    spread: { type: 'string', default: '1' },
    chunks: { type: 'string', default: '1000' },
    json: { type: 'string' },
  },
});
const servers = Number(values.servers);
const workers = Number(values.workers);
const answerMs = Number(values.answer);
const lines = Math.round((1000 * Number(values.seconds) * servers * workers) / answerMs);
const plain: Scenario = { slots: workers, spread: 0, isDeadly: false, withAllAtOnce: false };
const scenarios: Readonly<Record<string, Scenario>> = {
  uniform: { ...plain, withAllAtOnce: true },
  tailed: { ...plain, spread: Number(values.spread) },
  wide: { ...plain, slots: 4 * workers },
  death: { ...plain, isDeadly: true },
};

await using opened = new AsyncDisposableStack();
const folder = mkdtempSync(join(tmpdir(), 'ragmill-bench-'));
opened.defer(() => rmSync(folder, { recursive: true }));
const corpus = await CorpusFile.write(join(folder, 'corpus.jsonl'), Number(values.chunks));
const embedder = await corpus.embedder();
const questions = (await corpus.questions(embedder, lines)).map(({ query }) => query);
const report = new FigureReport('the service beside fixed workers');
console.log(
  `${servers} servers, ${workers} workers each, ${answerMs} ms an answer, ${lines} lines with retrieval`,
);
for (const name of values.scenarios.split(',')) {
  const scenario = scenarios[name];
  if (!scenario) throw new Error(`there is no scenario ${name}; there are ${Object.keys(scenarios).join()}`);
  await measure(name, scenario);
}
report.write(values.json);

async function measure(name: string, scenario: Scenario): Promise<void> {
  const { slots, spread } = scenario;
  await using models = await SlotModels.start(servers, { slots, answerMs, spread, seed: 1 });
  await using own = new AsyncDisposableStack();
  const service = new ServiceProcess({
    GPU_ENDPOINTS: models.endpoints,
    RAG_MODE: 'retrieve',
    RAG_TOP_K: String(TOP_K),
    CORPUS_PATH: corpus.path,
  });
  own.defer(() => service.stop());
  await service.ready(() => {});
  const chroma = await ServiceChroma.of(service, embedder, TOP_K);
  // Windows start small: the service has learned what its servers take when it is measured.
  await (await startBatch(service, Math.min(lines, 8 * servers * slots))).ended;
  const contenders = contendersOf(scenario, { models, service, chroma });
  console.log(`\n${name}: ${slots} slots a server, spread ${spread}`);
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
      await models.reset();
      const run = await contender.run();
      contender.runs.push(run);
      const { makespanMs, boundMs, longestQueue, lost } = run;
      const seconds = [makespanMs, boundMs].map((ms) => (ms / 1000).toFixed(2)).join(' s, bound ');
      console.log(`  ${contender.name.padEnd(24)} ${seconds} s, queue ${longestQueue}, lost ${lost}`);
    }
  }
  report.table(`${name}, medians of the rounds`, figuresOf(contenders));
}

interface Surroundings {
  readonly models: SlotModels;
  readonly service: ServiceProcess;
  readonly chroma: ServiceChroma;
}

function contendersOf(scenario: Scenario, surroundings: Surroundings): Contender[] {
  const contender = (name: string, run: () => Promise<Run>): Contender => ({ name, run, runs: [] });
  const byWorkers = (isAllAtOnce: boolean) => () => runWorkers(scenario, surroundings, isAllAtOnce);
  return [
    contender('the service', () => runService(scenario, surroundings)),
    contender('workers', byWorkers(false)),
    ...(scenario.withAllAtOnce ? [contender('workers, all at once', byWorkers(true))] : []),
  ];
}

async function runService({ slots, isDeadly }: Scenario, { models, service }: Surroundings): Promise<Run> {
  await allUp(service);
  const batch = await startBatch(service, lines);
  if (isDeadly) await batch.reached(Math.ceil(DEATH_SHARE * lines)).then(() => models.stopServer(VICTIM));
  await batch.ended;
  const answered = batch.results.filter(({ isSucceeded }) => isSucceeded);
  const counts = await models.counts();
  if (isDeadly) await models.startServer(VICTIM);
  return runOf(counts, { answers: answered.length, lastAnswerAtMs: batch.results.at(-1)?.atMs ?? 0 }, slots);
}

async function runWorkers(
  { slots, isDeadly }: Scenario,
  { models, chroma }: Surroundings,
  isAllAtOnce: boolean,
): Promise<Run> {
  const urls = models.endpoints.split(',').map((endpoint) => endpoint.slice(endpoint.indexOf('=') + 1));
  const retrieve = async (question: string) => {
    const [vector] = await embedder.embedQueries([question]);
    if (!(vector instanceof Float32Array)) throw new Error('a question without a vector');
    const [texts = []] = await chroma.query([vector]);
    return texts.slice(0, TOP_K);
  };
  const options = { urls, workersAServer: workers, isAllAtOnce, retrieve };
  let stopping: Promise<unknown> = Promise.resolve();
  const worked = await workStatically(questions, options, (answers) => {
    if (isDeadly && answers === Math.ceil(DEATH_SHARE * lines)) stopping = models.stopServer(VICTIM);
  });
  await stopping;
  const counts = await models.counts();
  if (isDeadly) await models.startServer(VICTIM);
  return runOf(counts, worked, slots);
}

/** From the first request at a server to the last answer. */
function runOf(
  counts: readonly ServerCounts[],
  { answers, lastAnswerAtMs }: { answers: number; lastAnswerAtMs: number },
  slots: number,
): Run {
  const beganAtMs = Math.min(
    ...counts.map(({ firstRequestAtMs }) => firstRequestAtMs ?? Number.POSITIVE_INFINITY),
  );
  const busyMs = counts.reduce((sum, { busySlotMs }) => sum + busySlotMs, 0);
  return {
    makespanMs: lastAnswerAtMs - beganAtMs,
    boundMs: busyMs / (servers * slots),
    longestQueue: Math.max(...counts.map(({ longestQueue }) => longestQueue)),
    lost: lines - answers,
  };
}

function startBatch(service: ServiceProcess, count: number): Promise<FollowedBatch> {
  return FollowedBatch.start(service.url, count, (line) => questions[line - 1] ?? '');
}

/** A server that was started again is found within seconds. */
async function allUp(service: ServiceProcess): Promise<void> {
  for (;;) {
    const { data } = (await (await fetch(`${service.url}/endpoints`)).json()) as {
      data: { state: string }[];
    };
    if (data.filter(({ state }) => state === 'up' || state === 'trial').length === servers) return;
    await sleep(POLL_INTERVAL_MS);
  }
}

function figuresOf(contenders: readonly Contender[]): Figure[] {
  const of = ({ runs }: Contender, value: (run: Run) => number) => median(runs.map(value));
  const [service] = contenders;
  return contenders.flatMap((one) => [
    figure(
      `${one.name}: makespan`,
      of(one, ({ makespanMs }) => makespanMs / 1000),
      's',
    ),
    figure(
      `${one.name}: makespan / bound`,
      of(one, ({ makespanMs, boundMs }) => makespanMs / boundMs),
    ),
    ...(service && one !== service ? [ratioFigure(one, service)] : []),
    figure(
      `${one.name}: longest queue at a server`,
      of(one, ({ longestQueue }) => longestQueue),
    ),
    figure(
      `${one.name}: lines lost`,
      of(one, ({ lost }) => lost),
    ),
  ]);
}

/** A line: where lines are lost, a makespan alone says nothing. */
function ratioFigure(one: Contender, service: Contender): Figure {
  const perLine = ({ makespanMs, lost }: Run) => makespanMs / (lines - lost);
  const ratios = one.runs.map((run, round) => {
    const other = service.runs[round];
    return other ? perLine(run) / perLine(other) : Number.NaN;
  });
  return figure(`${one.name}: time an answered line / the service's`, median(ratios));
}
