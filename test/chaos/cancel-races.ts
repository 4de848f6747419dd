// F41: a batch is cancelled after some of its records, twice at once and once more while it finishes. It ends once; what had
// finished stays; and whether it was cancelled is what the answers said.

import { strict as assert } from 'node:assert';
import { until } from '../fakes/until.ts';
import type { Chance } from './chance.ts';
import type { ChaosService } from './chaos-service.ts';
import { goodLines } from './marked-lines.ts';
import { checkMetrics } from './metrics-check.ts';
import { Oracle, readLog } from './oracle.ts';
import { request } from './requests.ts';
import type { Surroundings } from './surroundings.ts';
import { upload } from './upload.ts';

const LINES = 40;

/** Answers how many batches ended as cancelled. */
export async function cancelRaces(
  { server, open }: Surroundings,
  { rounds, chance }: { rounds: number; chance: Chance },
): Promise<number> {
  server.delayMs = 8;
  const oracle = new Oracle(server);
  await using service = open({ GPU_CONCURRENCY: '8' });
  await service.start();
  let cancelled = 0;
  for (let round = 0; round < rounds; round += 1) {
    const status = await cancelAtRandom(service, oracle, { round, afterRecords: chance.below(LINES + 1) });
    if (status === 'cancelled') cancelled += 1;
  }
  await checkMetrics(service, rounds * LINES);
  return cancelled;
}

async function cancelAtRandom(
  service: ChaosService,
  oracle: Oracle,
  { round, afterRecords }: { round: number; afterRecords: number },
): Promise<string> {
  const known = await upload(service, oracle, goodLines(`c${round}`, LINES));
  const cancel = () => request(service, oracle, known, { request: 'cancel' });
  const following = service.ask('GET', `/batches/${known.id}/results`);
  let before: string[] = [];
  await until('so many records', async () => {
    before = await readLog(service, known.id, 0);
    return before.length >= afterRecords;
  });
  await Promise.all([cancel(), cancel()]);
  const said = known.status;
  await cancel();
  const stream = await following;
  await oracle.checkBatch(service, known);
  assert.ok(known.isFinished, `${known.id}: its stream has ended, and it is ${known.status}`);
  assert.equal(known.status, said === 'in_progress' ? 'completed' : said.replace('cancelling', 'cancelled'));
  assert.deepEqual(known.published.slice(0, before.length), before, 'finished lines stay');
  assert.equal(stream?.text, known.published.map((body) => `${body}\n`).join(''), 'the stream is the log');
  return known.status;
}
