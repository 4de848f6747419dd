// F7: one line ends every process that runs it. After three deaths it is a suspect, runs in a process of its own, ends
// that one twice, and is convicted; the other 499 succeed, those that were running beside it included.

import t from 'tap';
import { checkDeadDatabase } from './check-database.ts';
import type { ParsedRecord } from './known-batch.ts';
import { goodLines } from './marked-lines.ts';
import { Oracle } from './oracle.ts';
import { chaosSurroundings } from './surroundings.ts';
import { upload } from './upload.ts';

const LINES = 500;
const POISON = 250;
const DEATHS = 3;

t.test('a line that ends its process is found out, and costs nobody else anything', async (t) => {
  const { server, open } = await chaosSurroundings(t);
  server.delayMs = 5;
  const oracle = new Oracle(server);
  const lines = goodLines('poison', LINES);
  const orders = { poison: lines[POISON - 1]?.mark ?? '' };
  await using service = open({ GPU_CONCURRENCY: '8' });
  await service.start(orders);
  const known = await upload(service, oracle, lines);
  for (let death = 1; death <= DEATHS; death += 1) {
    await service.died();
    checkDeadDatabase(service, oracle);
    service.launch(orders);
  }
  await service.ready();
  t.ok(await service.ask('GET', `/batches/${known.id}/results`), 'this life goes on to the end of the batch');
  await oracle.checkApi(service);
  t.equal(known.status, 'completed');
  const records = known.published.map((body) => JSON.parse(body) as ParsedRecord);
  const failed = records.filter(({ status }) => status !== 'succeeded');
  t.same(
    failed.map(({ line, error }) => [line, error?.code]),
    [[POISON, 'poison']],
  );
  t.equal(server.callsOf(orders.poison), 0);
});
