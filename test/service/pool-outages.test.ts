// Model servers that go and come back: one that flaps, and all of them at once. No line fails, nothing is burned, and who
// is back gets its share again.

import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { Behaviour } from '../fakes/fake-chat.ts';
import {
  areAllAnswered,
  isTrial,
  linesAt,
  numbered,
  type PoolService,
  shareOf,
  startPool,
  startServers,
  trialsAt,
  WINDOW,
} from '../fakes/fake-pool.ts';
import { chromaUrl } from '../fakes/real-chroma.ts';
import { until } from '../fakes/until.ts';

const CHROMA_URL = await chromaUrl(t);
const SLOW: Behaviour = { kind: 'answer', delayMs: 20 };
/** How long a server that flaps stays as it is, in milliseconds. */
const FLAP_MS = 600;
const FLAPS = 5;
/** How long an outage of all lasts, in milliseconds: several looks at each server. */
const OUTAGE_MS = 3_000;

async function readiness(service: PoolService): Promise<{ status: number; isDegraded: boolean }> {
  const answer = await service.fetch('/readyz');
  const { degraded } = (await answer.json()) as { degraded: string[] };
  return { status: answer.status, isDegraded: degraded.includes('no_model_server') };
}

t.test('a server that flaps costs no line, and is tried by one completion of the pool’s own', async (t) => {
  const { flapping, steady } = await startServers(t, ['flapping', 'steady']);
  let trialsAtOnce = 0;
  steady.respond(SLOW);
  flapping.respond(() => {
    const trials = trialsAt(flapping).filter(({ state }) => state === 'running').length;
    trialsAtOnce = Math.max(trialsAtOnce, trials);
    return SLOW;
  });
  const service = await startPool(t, { flapping, steady }, { CHROMA_URL });
  const id = await service.begin(numbered(2_500));
  await until('it to have answered', async () => (await service.ended('flapping', 'success')) > WINDOW);
  for (let flap = 0; flap < FLAPS; flap += 1) {
    await flapping.refuse();
    await until('that to be noticed', async () => (await service.endpoint('flapping')).state !== 'up');
    await sleep(FLAP_MS);
    const before = flapping.requests.length;
    await flapping.accept();
    await until('it to be asked again', () => flapping.requests.length > before);
    const [first] = flapping.requests.slice(before);
    t.ok(first && isTrial(first), 'no line is sent to find out');
    await sleep(FLAP_MS);
  }
  await service.becomes('flapping', 'up');
  await until('it to have its share again', async () => {
    const later = await service.run(numbered(200, 'later'));
    return shareOf('flapping', later) > 0.3;
  });
  const results = await service.allResults(id);
  t.ok(areAllAnswered(results, 2_500));
  t.equal(trialsAtOnce, 1);
  const calls = linesAt(flapping).length + linesAt(steady).length;
  const extra = calls - 2_700;
  t.ok(extra <= FLAPS * 2 * WINDOW, `${extra} calls were made again: what was in flight when it went`);
});

t.test('while every server is down lines wait and lose nothing; the service says so and stays', async (t) => {
  const servers = await startServers(t, ['a', 'b', 'c']);
  const all = Object.values(servers);
  for (const server of all) server.respond({ kind: 'answer', hold: true });
  const settings = { CHROMA_URL, GENERATION_MAX_ATTEMPTS: '1', FIRST_TOKEN_TIMEOUT_MS: '60000' };
  const service = await startPool(t, servers, { ...settings, GENERATION_TIMEOUT_MS: '60000' });
  const id = await service.begin(numbered(120));
  await until('all to be busy', () => all.every((server) => server.inFlight === WINDOW));
  await Promise.all(all.map((server) => server.refuse()));
  await until('it to say what it waits for', async () => {
    return (await service.batch(id)).progress.waiting_for !== null;
  });
  const outage = sleep(OUTAGE_MS);
  t.match(await readiness(service), { status: 200, isDegraded: true }, 'results stay within reach');
  const lateId = await service.begin(numbered(30, 'late'));
  await outage;
  t.match(await service.batch(id), { status: 'in_progress', line_counts: { failed: 0, succeeded: 0 } });
  t.match(await service.batch(lateId), { line_counts: { failed: 0, succeeded: 0 } });

  const before = all.map((server) => server.requests.length);
  for (const server of all) server.respond(SLOW);
  await Promise.all(all.map((server) => server.accept()));
  for (const [batch, count] of [
    [id, 120],
    [lateId, 30],
  ] as const) {
    const results = await service.allResults(batch);
    t.ok(areAllAnswered(results, count));
    t.ok(
      results.every(({ generation }) => generation?.attempts === 1),
      'no attempt was burned',
    );
  }
  for (const [index, server] of all.entries()) {
    const back = server.requests[before[index] ?? 0];
    t.ok(back && isTrial(back), 'each was tried before it got lines');
  }
  t.match(await readiness(service), { status: 200, isDegraded: false });
  const extra = all.reduce((sum, server) => sum + linesAt(server).length, 0) - 150;
  t.ok(extra <= all.length * WINDOW, `${extra} calls were made again: what was in flight`);
});

t.test('servers that were never there are waited for, and used as they come', async (t) => {
  const servers = await startServers(t, ['a', 'b']);
  await Promise.all([servers.a.refuse(), servers.b.refuse()]);
  const service = await startPool(t, servers, { CHROMA_URL, GENERATION_MAX_ATTEMPTS: '1' });
  const id = await service.begin(numbered(40));
  await until('it to say what it waits for', async () => {
    return /a|b/.test((await service.batch(id)).progress.waiting_for ?? '');
  });
  t.match(await readiness(service), { status: 200, isDegraded: true });
  await servers.b.accept();
  const results = await service.allResults(id);
  t.ok(areAllAnswered(results, 40));
  t.ok(results.every(({ generation }) => generation?.endpoint === 'b' && generation.attempts === 1));
  await servers.a.accept();
  await service.becomes('a', 'up');
  t.ok(shareOf('a', await service.run(numbered(60, 'later'))) > 0.3);
});
