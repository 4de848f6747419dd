// How long a small batch takes while a huge one has every slot of the servers: from its upload to the last of its results,
// in times of a line of the huge batch. The servers are simulated, retrieval is real, with an embedded Chroma. Small batches
// come one after the other, with each priority in turn; the huge one is cancelled when the last of them is done. The time of
// their retrieval includes what it waits for that of the huge batch, so some run before it too, with the service to themselves.
//
//   npm run bench:small-batch [-- --lines=100000 --small-lines=20 --rounds=5 --priorities=normal,high,low --after=30
//     --servers=8 --slots=32 --answer=1000 --spread=0.2 --window=32 --chunks=500 --json=<file>]

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { FollowedBatch, type SeenResult } from './parts/followed-batch.ts';
import { median } from './parts/median.ts';
import { PoolRun } from './parts/pool-run.ts';
import { type Figure, FigureReport, figure } from './parts/report.ts';
import { CorpusFile } from './parts/retrieval-side.ts';

interface SmallRun {
  /** From the beginning of its upload to its last result, at the client. */
  readonly tookMs: number;
  /** That of its line that took longest, what it waited for its turn included. */
  readonly retrievalMs: number;
  readonly failed: number;
}

/** Lines of the huge batch at a time: how long they took with the servers, and how many there were a second. */
interface LargeBatch {
  readonly lineMs: number;
  readonly linesPerSecond: number;
  readonly slotsBusy: number;
}

const TOP_K = 5;
/** Questions that differ; those of the huge batch come again and again. */
const QUESTIONS = 2_000;
/** What a small batch may take beside its retrieval, in times of a line. */
const LINE_TIMES_MAX = 3;
/** Between two small batches, so that none meets the wake of the one before. */
const PAUSE_MS = 500;

const { values } = parseArgs({
  options: {
    lines: { type: 'string', default: '100000' },
    'small-lines': { type: 'string', default: '20' },
    /** Small batches of each priority. */
    rounds: { type: 'string', default: '5' },
    priorities: { type: 'string', default: 'normal,high,low' },
    /** Seconds for which the huge batch has run before the first small one. */
    after: { type: 'string', default: '30' },
    servers: { type: 'string', default: '8' },
    slots: { type: 'string', default: '32' },
    /** Milliseconds, in the mean. */
    answer: { type: 'string', default: '1000' },
    spread: { type: 'string', default: '0.2' },
    window: { type: 'string', default: '32' },
    chunks: { type: 'string', default: '500' },
    json: { type: 'string' },
  },
});
const lines = Number(values.lines);
const smallLines = Number(values['small-lines']);
const servers = Number(values.servers);
const slots = Number(values.slots);
const priorities = values.priorities.split(',');
const runs = new Map<string, SmallRun[]>(priorities.map((priority) => [priority, []]));

const report = new FigureReport('a small batch beside a huge one');
await using opened = new AsyncDisposableStack();
const folder = mkdtempSync(join(tmpdir(), 'ragmill-bench-'));
opened.defer(() => rmSync(folder, { recursive: true }));
const corpus = await CorpusFile.write(join(folder, 'corpus.jsonl'), Number(values.chunks));
const questions = (await corpus.questions(await corpus.embedder(), QUESTIONS)).map(({ query }) => query);
const run = opened.use(
  await PoolRun.start({
    servers,
    slots,
    answerMs: Number(values.answer),
    shape: 'uniform',
    spread: Number(values.spread),
    seed: 1,
    window: values.window,
    settings: { RAG_MODE: 'retrieve', RAG_TOP_K: String(TOP_K), CORPUS_PATH: corpus.path },
  }),
);
const alone: SmallRun[] = [];
while (alone.length < Number(values.rounds)) alone.push(await runSmall('alone', 'normal'));
const large = await measureBeside();
report.table(`the batch of ${lines} lines meanwhile`, [
  figure('median time of a line with the servers', large.lineMs / 1000, 's'),
  figure('lines', large.linesPerSecond, 'a second'),
  figure('slots busy', large.slotsBusy),
  figure('processor time of the service', run.processorShare, 'of a core'),
  figure('processor time of the servers', run.modelsProcessorShare, 'of a core'),
]);
report.table(`${alone.length} batches of ${smallLines} lines alone`, timesOf(alone));
for (const [priority, ofPriority] of runs) {
  const heading = `${ofPriority.length} batches of ${smallLines} lines, priority=${priority}`;
  report.table(heading, figuresOf(ofPriority, large.lineMs));
}
report.write(values.json);

/** Runs all small batches while the huge one goes on. Throws when it ends too early. */
async function measureBeside(): Promise<LargeBatch> {
  const url = run.service.url;
  const batch = await FollowedBatch.start(url, lines, questionOf);
  await Promise.race([batch.reached(1).then(() => sleep(1000 * Number(values.after))), batch.ended]);
  await run.models.reset();
  const before = { results: batch.results.length, atMs: Date.now() };
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const priority of round % 2 === 0 ? priorities : priorities.toReversed()) {
      runs.get(priority)?.push(await runSmall(priority, priority));
      await sleep(PAUSE_MS);
    }
  }
  const elapsedMs = Date.now() - before.atMs;
  const meanwhile = batch.results.slice(before.results);
  const counts = await run.models.counts();
  if (batch.results.length >= lines) throw new Error('the huge batch ended first: give it more --lines');
  await fetch(`${batch.url}/cancel`, { method: 'POST' });
  await batch.ended;
  const busyMs = counts.reduce((sum, { busySlotMs }) => sum + busySlotMs, 0);
  return {
    lineMs: median(meanwhile.map(({ timingsMs }) => timingsMs?.generation ?? Number.NaN)),
    linesPerSecond: (1000 * meanwhile.length) / elapsedMs,
    slotsBusy: busyMs / (servers * slots * elapsedMs),
  };
}

async function runSmall(name: string, priority: string): Promise<SmallRun> {
  const startedAtMs = Date.now();
  const query = `priority=${priority}`;
  const batch = await FollowedBatch.start(run.service.url, smallLines, questionOf, query);
  await batch.ended;
  const tookMs = (batch.results.at(-1)?.atMs ?? Number.NaN) - startedAtMs;
  const retrievalMs = Math.max(...batch.results.map(retrievalOf));
  const failed = batch.results.filter(({ isSucceeded }) => !isSucceeded).length;
  console.log(`  ${name.padEnd(8)} ${(tookMs / 1000).toFixed(2)} s, of which ${retrievalMs} ms of retrieval`);
  return { tookMs, retrievalMs, failed };
}

function retrievalOf({ timingsMs }: SeenResult): number {
  return timingsMs?.retrieval ?? Number.NaN;
}

function figuresOf(ofPriority: readonly SmallRun[], lineMs: number): Figure[] {
  const aloneMs = median(alone.map(({ retrievalMs }) => retrievalMs));
  const lineTimes = (ms: (one: SmallRun) => number) => ofPriority.map((one) => ms(one) / lineMs);
  const whole = lineTimes(({ tookMs }) => tookMs);
  const besideRetrieval = lineTimes(({ tookMs, retrievalMs }) => tookMs - retrievalMs);
  const besideAlone = lineTimes(({ tookMs }) => tookMs - aloneMs);
  const target = { atMost: LINE_TIMES_MAX };
  return [
    ...timesOf(ofPriority),
    figure('upload to last result / time of a line, median', median(whole)),
    figure('upload to last result / time of a line, worst', Math.max(...whole)),
    figure('the same without its retrieval, median', median(besideRetrieval), '', target),
    figure('the same without its retrieval, worst', Math.max(...besideRetrieval), '', target),
    figure('the same without the retrieval of one alone, median', median(besideAlone)),
    figure('the same without the retrieval of one alone, worst', Math.max(...besideAlone)),
  ];
}

function timesOf(small: readonly SmallRun[]): Figure[] {
  const took = small.map(({ tookMs }) => tookMs / 1000);
  const retrieval = small.map(({ retrievalMs }) => retrievalMs / 1000);
  const failed = small.reduce((sum, one) => sum + one.failed, 0);
  return [
    figure('upload to last result, median', median(took), 's'),
    figure('upload to last result, worst', Math.max(...took), 's'),
    figure('its retrieval, median', median(retrieval), 's'),
    figure('its retrieval, worst', Math.max(...retrieval), 's'),
    figure('lines failed', failed),
  ];
}

function questionOf(line: number): string {
  return questions[line % questions.length] ?? '';
}
