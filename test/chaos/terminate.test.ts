// F4: a stop under load. Nothing new begins, what runs has its grace, the rest is given back, and the exit is clean.

import t from 'tap';
import { until } from '../fakes/until.ts';
import { type ChaosService, ServiceAnswers } from './chaos-service.ts';
import { checkDeadDatabase } from './check-database.ts';
import { goodLines } from './marked-lines.ts';
import { Oracle } from './oracle.ts';
import { chaosSurroundings } from './surroundings.ts';
import { upload } from './upload.ts';

const IN_FLIGHT = 200;
const LINES = 400;

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`${signal} with ${IN_FLIGHT} calls in flight, half of which never end`, async (t) => {
    const { server, open } = await chaosSurroundings(t);
    const oracle = new Oracle(server);
    await using service = open({ GPU_CONCURRENCY: String(IN_FLIGHT), SHUTDOWN_GRACE_MS: '2000' });
    await service.start();
    server.isHolding = true;
    const known = await upload(service, oracle, goodLines(signal, LINES));
    await server.until(() => server.running.size === IN_FLIGHT);
    const answers = new ServiceAnswers(service, `/batches/${known.id}`);
    service.signal(signal);
    await until('it to say that it is not ready', async () => {
      const answer = await service.ask('GET', '/readyz');
      return answer === null || answer.status === 503;
    });
    const half = IN_FLIGHT / 2;
    server.release(half);
    t.equal(await service.exited(), 0);
    const statuses = await answers.end();
    t.ok(
      statuses.every((status) => status === 200 || status === 503),
      `answered meanwhile: ${[...new Set(statuses)]}`,
    );
    t.equal(server.calls, IN_FLIGHT, 'nothing began after the signal');
    t.equal(checkDeadDatabase(service, oracle, true).get(known.id)?.recorded.size, half);

    server.isHolding = false;
    await service.start();
    await service.ask('GET', `/batches/${known.id}/results`);
    await oracle.restarted(service);
    t.equal(known.status, 'completed');
    t.equal(server.calls, LINES + half, 'only what was given back was asked again');
    const attempts = known.published.map((body) => JSON.parse(body).generation.attempts);
    t.same(new Set(attempts), new Set([1]), 'being stopped is no attempt of a line');
  });
}

t.test('a second signal ends it at once, and costs no more than a kill', async (t) => {
  const { server, open } = await chaosSurroundings(t);
  const oracle = new Oracle(server);
  await using service = open({ GPU_CONCURRENCY: '50', SHUTDOWN_GRACE_MS: '600000' });
  await service.start();
  server.isHolding = true;
  const known = await upload(service, oracle, goodLines('twice', 100));
  await server.until(() => server.running.size === 50);
  service.signal('SIGTERM');
  await until('the first signal to be seen', () => hasLogged(service, 'a second signal ends at once'));
  service.signal('SIGTERM');
  t.not(await service.exited(), 0);
  checkDeadDatabase(service, oracle);

  server.release();
  await service.start();
  await service.ask('GET', `/batches/${known.id}/results`);
  await oracle.restarted(service);
  t.equal(known.status, 'completed');
  t.equal(server.calls, 150);
});

function hasLogged(service: ChaosService, words: string): boolean {
  return service.log().includes(words);
}
