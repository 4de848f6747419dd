// How long a killed service takes until it goes on: from the start of the process to the first new result, on the
// demo's corpus, with the collection that the killed one had built.

import { fileURLToPath } from 'node:url';
import t from 'tap';
import { ChaosService } from './chaos-service.ts';
import { checkDeadDatabase } from './check-database.ts';
import { CountingModelServer } from './counting-model-server.ts';
import { noFigures, printFigures } from './figures.ts';
import { firstResultAfter } from './first-result.ts';
import { goodLines } from './marked-lines.ts';
import { Oracle } from './oracle.ts';
import { upload } from './upload.ts';

const ROUNDS = 10;
const DEMO_CORPUS = fileURLToPath(new URL('../../docs', import.meta.url));

t.test('from the start after a kill to the first new result', async (t) => {
  const server = await CountingModelServer.start();
  t.teardown(() => server.close());
  server.delayMs = 100;
  const figures = noFigures();
  await using service = new ChaosService({
    GPU_ENDPOINTS: server.url,
    CORPUS_PATH: DEMO_CORPUS,
    GPU_CONCURRENCY: '4',
  });
  await service.start();
  const oracle = new Oracle(server);
  const known = await upload(service, oracle, goodLines('recovery', 2_000));
  for (let round = 0; round < ROUNDS; round += 1) {
    await service.end('SIGKILL');
    figures.kills += 1;
    const recorded = checkDeadDatabase(service, oracle).get(known.id)?.recorded.size ?? 0;
    const startedAtMs = performance.now();
    service.launch();
    const listening = await service.listening();
    const listenedMs = performance.now() - startedAtMs;
    await firstResultAfter(listening, known.id, recorded);
    figures.recoveryMs.push(performance.now() - startedAtMs);
    t.comment(`listening after ${Math.round(listenedMs)} ms; ${phases(service.log())}`);
  }
  t.equal(figures.recoveryMs.length, ROUNDS);
  printFigures(t, figures);
});

/** When each step of the start was logged, in milliseconds after the first line of the log. */
function phases(log: string): string {
  const lines = log.split('\n').filter((line) => line.startsWith('{'));
  const entries = lines.map((line) => JSON.parse(line) as { time: number; msg: string; phase?: string });
  const first = entries[0]?.time ?? 0;
  const known = entries.filter(
    ({ msg, phase }) => phase !== undefined || msg === 'listening' || msg === 'ready',
  );
  return known.map(({ time, msg, phase }) => `${phase ?? msg} +${time - first}`).join(', ');
}
