// F1: a service is killed at random instants, over and over, while it works on a batch.
//
// What was acknowledged is there after every kill; no line has two records; what was published stands; and a kill
// costs no more model calls than there were lines that had been asked and had no record yet.

import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Chance } from './chance.ts';
import type { ChaosService } from './chaos-service.ts';
import { checkDeadDatabase, type DeadBatch } from './check-database.ts';
import type { Figures } from './figures.ts';
import type { KnownBatch } from './known-batch.ts';
import { goodLines } from './marked-lines.ts';
import { type BatchObject, Oracle, whole } from './oracle.ts';
import type { Surroundings } from './surroundings.ts';
import { upload } from './upload.ts';

const LINES = 500;
const KILL_WITHIN_MS = 1_500;

export async function randomKills(
  { server, open }: Surroundings,
  { rounds, chance, figures }: { rounds: number; chance: Chance; figures: Figures },
): Promise<void> {
  server.delayMs = 60;
  await using service = open({ GPU_CONCURRENCY: '16' });
  const oracle = new Oracle(server);
  await service.start();
  let batch = await begin(service, oracle, figures);
  for (let round = 0; round < rounds; round += 1) {
    figures.rounds += 1;
    await sleep(chance.next() * KILL_WITHIN_MS);
    await service.end('SIGKILL');
    figures.kills += 1;
    await server.until(() => server.running.size === 0);
    const lost = lostCalls(oracle, checkDeadDatabase(service, oracle).get(batch.known.id), batch);
    figures.repeatedCalls.push(lost);
    batch.repeatable += lost;

    figures.readyMs.push(await service.start());
    await oracle.restarted(service);
    if (!batch.known.isFinished) continue;
    checkCalls(oracle, batch);
    batch = await begin(service, oracle, figures);
  }
  await finish(service, oracle, batch.known);
  checkCalls(oracle, batch);
}

interface RunningBatch {
  readonly known: KnownBatch;
  /** How often each question had been asked at the last kill. */
  readonly callsBefore: Map<string, number>;
  /** Calls that kills may have made in vain. */
  repeatable: number;
}

async function begin(service: ChaosService, oracle: Oracle, figures: Figures): Promise<RunningBatch> {
  const known = await upload(service, oracle, goodLines(`r${figures.batchesAcknowledged}`, LINES));
  figures.batchesAcknowledged += 1;
  figures.linesAcknowledged += LINES;
  return { known, callsBefore: new Map(), repeatable: 0 };
}

/** Lines that were asked in this life and have no record: what they were asked for is lost, and is asked again. */
function lostCalls(
  oracle: Oracle,
  dead: DeadBatch | undefined,
  { known, callsBefore }: RunningBatch,
): number {
  assert.ok(dead, `${known.id} is lost`);
  const lost = known.lines.filter(({ line, mark }) => {
    const calls = oracle.server.callsOf(mark);
    const isLost = !dead.recorded.has(line) && calls > (callsBefore.get(mark) ?? 0);
    callsBefore.set(mark, calls);
    if (isLost) assert.ok(dead.started.has(line), `line ${line} was asked, and has no start mark`);
    return isLost;
  });
  return lost.length;
}

/** Every good line was asked once, and again only where a kill had swallowed its answer. */
function checkCalls(oracle: Oracle, { known, repeatable }: RunningBatch): void {
  const calls = known.lines.reduce((sum, { mark }) => sum + oracle.server.callsOf(mark), 0);
  assert.ok(calls <= LINES + repeatable, `${calls} calls for ${LINES} lines and ${repeatable} lost ones`);
  const bodies = known.published.map((body) => JSON.parse(body) as { status: string });
  assert.ok(
    bodies.every(({ status }) => status === 'succeeded'),
    `${known.id}: a kill has made a line fail`,
  );
}

async function finish(service: ChaosService, oracle: Oracle, known: KnownBatch): Promise<void> {
  oracle.server.delayMs = 0;
  // Following to its clean end: the batch is finished then.
  whole(await service.ask('GET', `/batches/${known.id}/results`));
  const batch = JSON.parse(whole(await service.ask('GET', `/batches/${known.id}`)).text) as BatchObject;
  assert.equal(batch.status, 'completed');
  await oracle.checkApi(service);
}
