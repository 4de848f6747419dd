// Storms: model servers that answer nothing but errors, or are full for a while. Errors take a server out; a full one is
// left alone for as long as it asks. The calls that are made again stay few.

import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { Behaviour } from '../fakes/fake-chat.ts';
import type { FakeModelServer } from '../fakes/fake-model-server.ts';
import {
  areAllAnswered,
  FAILURES_MAX,
  isTrial,
  linesAt,
  numbered,
  shareOf,
  startPool,
  startServers,
  trialsAt,
  WINDOW,
} from '../fakes/fake-pool.ts';
import { refusal } from '../fakes/fault-answers.ts';
import { chromaUrl } from '../fakes/real-chroma.ts';
import { until } from '../fakes/until.ts';

const CHROMA_URL = await chromaUrl(t);
const SLOW: Behaviour = { kind: 'answer', delayMs: 25 };
const ERROR: Behaviour = { kind: 'status', status: 500, body: 'boom' };
/** How long a storm lasts, in milliseconds. */
const STORM_MS = 3_000;
/** Calls made again, as a share of the lines; and what is in flight comes on top of it. */
const EXTRA_SHARE = 0.2;
/** A timer may be so much early by another clock. */
const EARLY_MS = 5;

/** A storm of refusals, which knows when each of them allows the next request. */
class Storm {
  /** In milliseconds since the epoch: when a refused request came, and when the next one may. */
  readonly refused: { readonly atMs: number; readonly notBeforeMs: number }[] = [];

  begin(server: FakeModelServer, status: number, form: 'seconds' | 'date'): void {
    server.respond(() => {
      const atMs = Date.now();
      // A date has whole seconds: this one lies between one and two seconds ahead.
      const until = form === 'seconds' ? 1 : new Date(Math.floor(atMs / 1000 + 2) * 1000);
      const notBeforeMs = typeof until === 'number' ? atMs + until * 1000 : until.getTime();
      this.refused.push({ atMs, notBeforeMs });
      return refusal(status, until);
    });
  }

  /** How many requests came although the server had asked for patience, beyond those that were under way. */
  get impatient(): number {
    const first = this.refused[0]?.notBeforeMs ?? 0;
    return this.refused.filter(({ atMs }, index) => {
      const notBeforeMs = index < WINDOW ? 0 : Math.max(first, this.#lastBefore(index));
      return atMs < notBeforeMs - EARLY_MS;
    }).length;
  }

  /** Once the burst is over, one request at a time is sent. */
  #lastBefore(index: number): number {
    return index === WINDOW ? 0 : (this.refused[index - 1]?.notBeforeMs ?? 0);
  }
}

t.test('a server that answers nothing but errors is taken out, and comes back after it', async (t) => {
  const servers = await startServers(t, ['sick', 'b']);
  servers.sick.respond(ERROR);
  servers.b.respond(SLOW);
  const service = await startPool(t, servers, { CHROMA_URL });
  const results = await service.run(numbered(400));
  t.ok(areAllAnswered(results, 400));
  t.equal(shareOf('sick', results), 0);
  t.ok(linesAt(servers.sick).length <= FAILURES_MAX + WINDOW - 1, 'no line is sent to find out');
  const calls = linesAt(servers.sick).length + linesAt(servers.b).length;
  t.ok(calls <= 400 * (1 + EXTRA_SHARE) + 2 * WINDOW, `${calls} calls`);
  t.match(await service.endpoint('sick'), { breaker: /open/, reason: /500/ });
  await until('it to be tried', () => trialsAt(servers.sick).length >= 1);
  t.match(await service.endpoint('sick'), { breaker: /open/ });

  servers.sick.respond(SLOW);
  await service.becomes('sick', 'up');
  t.ok(shareOf('sick', await service.run(numbered(200, 'later'))) > 0.3);
});

t.test('one that answers the pool alone and fails every line is tried ever less often', async (t) => {
  const servers = await startServers(t, ['sick', 'b']);
  servers.sick.respond((request) => (isTrial(request) ? { kind: 'answer' } : ERROR));
  servers.b.respond(SLOW);
  const service = await startPool(t, servers, { CHROMA_URL });
  const results = await service.run(numbered(1000));
  t.ok(areAllAnswered(results, 1000));
  t.ok(trialsAt(servers.sick).length >= 1, 'it was let in again');
  const extra = linesAt(servers.sick).length + linesAt(servers.b).length - 1000;
  t.ok(extra <= 1000 * EXTRA_SHARE, `${extra} calls were made again`);
});

t.test('half an error storm takes a server out too', async (t) => {
  const servers = await startServers(t, ['sick', 'b']);
  servers.sick.respond(({ index }) => (index % 3 === 0 ? SLOW : ERROR));
  servers.b.respond(SLOW);
  const service = await startPool(t, servers, { CHROMA_URL });
  const id = await service.begin(numbered(600));
  await until('it to be out', async () => (await service.endpoint('sick')).breaker !== 'closed');
  t.ok(areAllAnswered(await service.allResults(id), 600));
});

for (const [status, form] of [
  [503, 'seconds'],
  [429, 'date'],
] as const) {
  t.test(`a full server (${status}) is left alone for as long as it asks, in ${form}`, async (t) => {
    const { full, b } = await startServers(t, ['full', 'b']);
    const storm = new Storm();
    storm.begin(full, status, form);
    // The batch has to outlast the storm.
    b.respond({ kind: 'answer', delayMs: 100 });
    const service = await startPool(t, { full, b }, { CHROMA_URL, GENERATION_MAX_ATTEMPTS: '1' });
    const id = await service.begin(numbered(800));
    await until('three more tries', () => storm.refused.length >= WINDOW + 3 || trialsAt(full).length > 0);
    t.match(await service.endpoint('full'), { state: 'up', breaker: 'closed' });
    for (const server of [full, b]) server.respond(SLOW);
    const results = await service.allResults(id);
    t.ok(areAllAnswered(results, 800));
    t.ok(
      results.every(({ generation }) => generation?.attempts === 1),
      'no attempt is burned',
    );
    t.equal(storm.impatient, 0);
    t.equal(trialsAt(full).length, 0, 'a full server is a good one: nothing had to be tried');
    const calls = linesAt(full).length + linesAt(b).length;
    t.ok(calls <= 800 * (1 + EXTRA_SHARE) + 2 * WINDOW, `${calls} calls`);
    t.ok(shareOf('full', await service.run(numbered(200, 'later'))) > 0.3);
  });
}

for (const [name, retryAfter] of [
  ['no time at all', 0],
  ['a time that is over', new Date(0)],
] as const) {
  t.test(`a full server that asks for ${name} is not asked without end`, async (t) => {
    const servers = await startServers(t, ['a', 'b']);
    for (const server of [servers.a, servers.b]) server.respond(refusal(503, retryAfter));
    const service = await startPool(t, servers, { CHROMA_URL, GENERATION_MAX_ATTEMPTS: '1' });
    const id = await service.begin(numbered(500));
    await until('both to have refused', async () => {
      return (await service.ended('a', 'overload')) > 0 && (await service.ended('b', 'overload')) > 0;
    });
    await sleep(STORM_MS);
    for (const server of [servers.a, servers.b]) server.respond({ kind: 'answer' });
    t.ok(areAllAnswered(await service.allResults(id), 500));
    const extra = linesAt(servers.a).length + linesAt(servers.b).length - 500;
    t.ok(extra <= 500 * EXTRA_SHARE + 2 * WINDOW, `${extra} calls were made again`);
  });
}

t.test('a server that refuses what is beyond its capacity is asked for hardly more', async (t) => {
  const { small } = await startServers(t, ['small']);
  const capacity = 6;
  let refusals = 0;
  small.respond(() => {
    if (small.inFlight <= capacity) return { kind: 'answer', delayMs: 25 };
    refusals += 1;
    return { kind: 'status', status: 503, body: 'The queue is full.' };
  });
  const settings = { CHROMA_URL, GPU_CONCURRENCY: 'auto', GENERATION_MAX_ATTEMPTS: '1' };
  const service = await startPool(t, { small }, settings);
  const results = await service.run(numbered(1000));
  t.ok(areAllAnswered(results, 1000));
  t.ok(results.every(({ generation }) => generation?.attempts === 1));
  t.ok(refusals > 0, 'it was asked for more');
  t.ok(refusals <= 1000 * EXTRA_SHARE, `${refusals} were refused`);
  t.match(await service.endpoint('small'), { state: 'up', breaker: 'closed' });
});

t.test('a storm of aborted answers at every server burns no attempt', async (t) => {
  const servers = await startServers(t, ['a', 'b']);
  const abort: Behaviour = { kind: 'answer', finishReason: 'abort' };
  for (const server of [servers.a, servers.b]) server.respond(abort);
  const service = await startPool(t, servers, { CHROMA_URL, GENERATION_MAX_ATTEMPTS: '1' });
  const id = await service.begin(numbered(60));
  await until('both to have refused again and again', async () => {
    const counts = [await service.ended('a', 'overload'), await service.ended('b', 'overload')];
    return counts.every((count) => count >= WINDOW + 2);
  });
  t.match(await service.endpoint('a'), { state: 'up', breaker: 'closed' });
  t.match(await service.endpoint('b'), { state: 'up', breaker: 'closed' });
  for (const server of [servers.a, servers.b]) server.respond({ kind: 'answer' });
  const results = await service.allResults(id);
  t.ok(areAllAnswered(results, 60));
  t.ok(results.every(({ generation }) => generation?.attempts === 1));
  const calls = linesAt(servers.a).length + linesAt(servers.b).length;
  t.ok(calls - 60 <= 60 * EXTRA_SHARE + 2 * WINDOW, `${calls} calls for 60 lines`);
});
