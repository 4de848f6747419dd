// What faults of model servers cost a batch, beside what the servers could still do at best. Four simulated servers (eight
// in the last two scenarios), each of which works on so many requests at a time.
//
//   death        one dies at 30 % of the results and is back at 60 %
//   slow         one takes five times as long as the others
//   rejected     every tenth line is refused by every server
//   refuses-401  one of eight answers 401 to everything, and at once
//   refuses-400  one of eight answers 400 to everything, and at once
//
//   npm run bench:pool [-- --scenarios=death,slow --seconds=60 --slots=32 --answer=500 --spread=0 --window=auto]

import { parseArgs } from 'node:util';
import { backAfterMs, type Capacity, earliestEndMs } from './parts/pool-bounds.ts';
import { type FinishedRun, PoolRun } from './parts/pool-run.ts';
import { machine, report } from './parts/report.ts';
import { REFUSED_MARK } from './parts/slot-model-server.ts';
import { nameOf } from './parts/slot-models.ts';

type Rows = (readonly [string, string])[];

const SERVERS = 4;
const MANY_SERVERS = 8;
const SLOWNESS = 5;
/** The one that something happens to. */
const VICTIM = 1;

const scenarios: Readonly<Record<string, () => Promise<void>>> = {
  death: measureDeath,
  slow: measureSlow,
  rejected: measureRejected,
  'refuses-401': () => measureRefusals(401),
  'refuses-400': () => measureRefusals(400),
};

const { values } = parseArgs({
  options: {
    scenarios: { type: 'string', default: Object.keys(scenarios).join() },
    /** What a batch takes at best when nothing happens. */
    seconds: { type: 'string', default: '60' },
    slots: { type: 'string', default: '32' },
    /** Milliseconds. */
    answer: { type: 'string', default: '500' },
    spread: { type: 'string', default: '0' },
    window: { type: 'string', default: 'auto' },
  },
});
const slots = Number(values.slots);
const answerMs = Number(values.answer);
const seconds = Number(values.seconds);
/** Of one server. */
const answersPerMs = slots / answerMs;

console.log(machine());
console.log(`servers of ${slots} slots, ${answerMs} ms an answer, spread ${values.spread}`);
console.log(`rag_mode=off, GPU_CONCURRENCY=${values.window}`);
for (const name of values.scenarios.split(',')) {
  const scenario = scenarios[name];
  if (!scenario) throw new Error(`there is no scenario ${name}; there are ${Object.keys(scenarios).join()}`);
  await scenario();
}

async function measureDeath(): Promise<void> {
  await using run = await startRun(SERVERS);
  const lines = linesFor(SERVERS);
  let diedAtMs = 0;
  let returnedAtMs = 0;
  const finished = await run.run(lines, undefined, async (batch) => {
    await batch.reached(Math.ceil(0.3 * lines));
    diedAtMs = await run.models.stopServer(VICTIM);
    await batch.reached(Math.ceil(0.6 * lines));
    returnedAtMs = await run.models.startServer(VICTIM);
  });
  const backMs = backAfterMs(finished.batch.results, {
    endpoint: nameOf(VICTIM),
    returnedAtMs,
    servers: SERVERS,
  });
  const capacities = [
    { fromMs: finished.beganAtMs, answersPerMs: SERVERS * answersPerMs },
    { fromMs: diedAtMs, answersPerMs: (SERVERS - 1) * answersPerMs },
    { fromMs: returnedAtMs, answersPerMs: SERVERS * answersPerMs },
  ];
  report('one of four dies at 30 % of the results and is back at 60 %', [
    ...(await commonRows(run, finished, capacities)),
    ['dead for', `${((returnedAtMs - diedAtMs) / 1000).toFixed(2)} s`],
    ['asked for "makespan / bound"', '1.05'],
    ['has its share again after', backMs === null ? 'never' : `${(backMs / 1000).toFixed(1)} s (asked: 10)`],
  ]);
}

async function measureSlow(): Promise<void> {
  await using run = await startRun(SERVERS);
  await run.models.slowDown(VICTIM, SLOWNESS);
  const equivalent = SERVERS - 1 + 1 / SLOWNESS;
  const finished = await run.run(linesFor(equivalent));
  report('one of four takes five times as long', [
    ...(await commonRows(run, finished, steady(finished, equivalent))),
    ['lines answered by the slow one', shareOf(finished, VICTIM)],
    ['its fair share', (1 / SLOWNESS / equivalent).toFixed(3)],
    ['asked for "makespan / bound"', '1.1'],
  ]);
}

async function measureRejected(): Promise<void> {
  await using run = await startRun(SERVERS);
  const isMarked = (line: number) => line % 10 === 0;
  const finished = await run.run(linesFor(SERVERS), (line) => {
    return `What is said about number ${line}? ${isMarked(line) ? REFUSED_MARK : ''}`;
  });
  const wrong = finished.batch.results.filter(
    ({ customId, isSucceeded }) => isSucceeded === isMarked(Number(customId)),
  );
  const answers = finished.batch.results.length - finished.failed;
  report('every tenth line is refused by every server', [
    ...(await commonRows(run, finished, steady(finished, SERVERS), answers)),
    ['lines that ended wrongly', `${wrong.length} (asked: 0)`],
    ['asked for "extra calls"', '0.010'],
  ]);
}

async function measureRefusals(status: number): Promise<void> {
  await using run = await startRun(MANY_SERVERS);
  await run.models.refuseAll(VICTIM, status);
  const finished = await run.run(linesFor(MANY_SERVERS - 1));
  report(`one of eight answers ${status} to everything, and at once`, [
    ...(await commonRows(run, finished, steady(finished, MANY_SERVERS - 1))),
    ['requests that it refused', `${finished.counts[VICTIM]?.refused}`],
    ['what the service says of it', await run.stateOf(nameOf(VICTIM))],
  ]);
}

function startRun(servers: number): Promise<PoolRun> {
  const { window } = values;
  return PoolRun.start({ servers, slots, answerMs, spread: Number(values.spread), seed: 1, window });
}

/** As many as so many servers answer in the time asked for. */
function linesFor(servers: number): number {
  return Math.round(seconds * 1000 * servers * answersPerMs);
}

function steady(finished: FinishedRun, servers: number): Capacity[] {
  return [{ fromMs: finished.beganAtMs, answersPerMs: servers * answersPerMs }];
}

/** `answers`: lines that take a slot, if not all do. */
async function commonRows(
  run: PoolRun,
  finished: FinishedRun,
  capacities: readonly Capacity[],
  answers = finished.batch.results.length,
): Promise<Rows> {
  const lines = finished.batch.results.length;
  const boundMs = earliestEndMs(capacities, answers) - finished.beganAtMs;
  const hedges = await run.hedges();
  return [
    ['lines', `${lines}, ${finished.failed} failed, ${finished.triedAgain} tried again`],
    ['makespan, first request to last result', `${(finished.makespanMs / 1000).toFixed(2)} s`],
    ['bound', `${(boundMs / 1000).toFixed(2)} s`],
    ['makespan / bound', (finished.makespanMs / boundMs).toFixed(3)],
    ['extra calls', finished.extraCalls.toFixed(4)],
    ['hedges', hedges === null ? 'not known' : (hedges / lines).toFixed(4)],
    ['endpoints taken out', `${run.timesTakenOut} times`],
    ['processor time of the service', `${(100 * run.processorShare).toFixed(0)} % of a core`],
  ];
}

function shareOf(finished: FinishedRun, index: number): string {
  const own = finished.batch.results.filter(({ endpoint }) => endpoint === nameOf(index));
  return (own.length / finished.batch.results.length).toFixed(3);
}
