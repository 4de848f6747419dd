// Model servers that fall silent: nobody replies, the process is stopped, connections are forgotten by the network, answers
// drip. Every line is answered elsewhere or later, no place at a server is lost, and a server that recovers gets its share.

import t from 'tap';
import type { Behaviour } from '../fakes/fake-chat.ts';
import {
  areAllAnswered,
  askedBy,
  FAILURES_MAX,
  linesAt,
  numbered,
  shareOf,
  startPool,
  startServers,
  WINDOW,
} from '../fakes/fake-pool.ts';
import { dripping, drippingHead } from '../fakes/fault-answers.ts';
import { chromaUrl } from '../fakes/real-chroma.ts';
import { StoppableModelServer } from '../fakes/stoppable-model-server.ts';
import { startTcpProxy } from '../fakes/tcp-proxy.ts';
import { until } from '../fakes/until.ts';

const CHROMA_URL = await chromaUrl(t);
/** So slow that a batch outlasts the deadlines of a silent server. */
const SLOW: Behaviour = { kind: 'answer', delayMs: 25 };
/** Lines at a silent server: the failures that it may have, and what is in flight when the last of them is known. */
const LINES_MAX = FAILURES_MAX + WINDOW - 1;

t.test('a server that accepts and never replies fails five times at most', async (t) => {
  const servers = await startServers(t, ['hole', 'b', 'c']);
  servers.hole.respond({ kind: 'answer', hold: true });
  servers.b.respond(SLOW);
  servers.c.respond(SLOW);
  const service = await startPool(t, servers, { CHROMA_URL });
  const results = await service.run(numbered(600));
  t.ok(areAllAnswered(results, 600));
  t.equal(shareOf('hole', results), 0);
  const lines = linesAt(servers.hole).length;
  t.ok(lines >= WINDOW && lines <= LINES_MAX, `${lines} lines were sent there`);
  t.not((await service.endpoint('hole')).state, 'up');

  servers.hole.respond(SLOW);
  servers.hole.release();
  await service.becomes('hole', 'up');
  t.ok(shareOf('hole', await service.run(numbered(200, 'later'))) > 0.2, 'and gets its share afterwards');
});

t.test('so does a server whose process is stopped', async (t) => {
  const servers = await startServers(t, ['b', 'c']);
  servers.b.respond(SLOW);
  servers.c.respond(SLOW);
  const stopped = await StoppableModelServer.start(t);
  const service = await startPool(t, { ...servers, stopped }, { CHROMA_URL });
  const id = await service.begin(numbered(900));
  await until('it to have answered', async () => (await service.ended('stopped', 'success')) >= 10);
  stopped.stop();
  const results = await service.allResults(id);
  t.ok(areAllAnswered(results, 900));
  const failures = (await service.ended('stopped', 'ambiguous')) + (await service.ended('stopped', 'hard'));
  t.ok(failures >= 1 && failures <= LINES_MAX, `${failures} lines failed there`);
  t.not((await service.endpoint('stopped')).state, 'up');

  stopped.goOn();
  await service.becomes('stopped', 'up');
  t.ok(shareOf('stopped', await service.run(numbered(200, 'later'))) > 0.2);
});

t.test('connections over which nothing passes any more are found out and closed', async (t) => {
  const servers = await startServers(t, ['behind', 'b']);
  servers.behind.respond(SLOW);
  servers.b.respond(SLOW);
  const proxy = await startTcpProxy(t, servers.behind.port);
  const service = await startPool(t, { behind: proxy, b: servers.b }, { CHROMA_URL });
  const id = await service.begin(numbered(600));
  await until('lines to run there', async () => (await service.ended('behind', 'success')) >= 10);
  proxy.silence();
  t.ok(areAllAnswered(await service.allResults(id), 600));
  await until('the silent ones to be closed', () => proxy.silent === 0);
  t.ok(proxy.open <= 2 * (WINDOW + 1), `${proxy.open} are open, each in use or just used`);

  // Those that are kept for the next request fall silent while they are idle.
  proxy.silence();
  t.ok(areAllAnswered(await service.run(numbered(200, 'later')), 200));
  await until('these to be closed too', () => proxy.silent === 0);
  await service.becomes('behind', 'up');
});

t.test('a server that the network has lost altogether comes back with it', async (t) => {
  const servers = await startServers(t, ['behind', 'b']);
  servers.behind.respond(SLOW);
  servers.b.respond(SLOW);
  const proxy = await startTcpProxy(t, servers.behind.port);
  const service = await startPool(t, { behind: proxy, b: servers.b }, { CHROMA_URL });
  const id = await service.begin(numbered(500));
  await until('lines to run there', async () => (await service.ended('behind', 'success')) >= 10);
  proxy.onConnect = 'silence';
  proxy.silence();
  await until('it to be given up', async () => (await service.endpoint('behind')).state !== 'up');
  t.ok((await service.ended('behind', 'ambiguous')) <= LINES_MAX);
  t.ok(areAllAnswered(await service.allResults(id), 500));
  proxy.onConnect = 'pass';
  await service.becomes('behind', 'up');
  t.ok(shareOf('behind', await service.run(numbered(200, 'later'))) > 0.3);
  await until('the silent ones to be closed', () => proxy.silent === 0);
});

t.test('answers that drip or stall end by the deadlines, and free their place', async (t) => {
  const { one } = await startServers(t, ['one']);
  const token = 'data: {"choices":[{"index":0,"delta":{"content":"Zü"}}]}\n\n';
  const faults: Readonly<Record<string, Behaviour>> = {
    'slow head': drippingHead(20),
    'slow tokens': dripping(token, 100),
    stall: { kind: 'answer', pieces: 4, breakAfter: 2, breakWith: 'stall' },
    comments: dripping(': still here\n\n', 20),
  };
  const asked = new Set<string>();
  one.respond((request) => {
    const question = askedBy(request);
    const fault = faults[question];
    if (fault === undefined || asked.has(question)) return { kind: 'answer' };
    asked.add(question);
    return fault;
  });
  // With a single place, a line that kept it would keep all others from running.
  const settings = { CHROMA_URL, GPU_CONCURRENCY: '1', GENERATION_TIMEOUT_MS: '1000' };
  const service = await startPool(t, { one }, settings);
  const questions = [...numbered(5), ...Object.keys(faults), ...numbered(5, 'later')];
  const results = await service.run(questions);
  t.ok(areAllAnswered(results, questions.length));
  for (const { custom_id: id, generation } of results) {
    const isSlow = Object.hasOwn(faults, questions[Number(id?.slice(1)) - 1] ?? '');
    t.equal(generation?.attempts, isSlow ? 2 : 1);
  }
  t.equal(await service.metric('ragmill_endpoint_inflight{endpoint="one"}'), 0);
  await until('the server to see that they were given up', () => one.inFlight === 0);
});

t.test('a line whose answers always drip fails by itself, with the deadline that it broke', async (t) => {
  const servers = await startServers(t, ['a', 'b']);
  const token = 'data: {"choices":[{"index":0,"delta":{"content":"Zü"}}]}\n\n';
  for (const server of [servers.a, servers.b]) {
    server.respond((request) => {
      if (askedBy(request) === 'for ever') return dripping(token, 50);
      return askedBy(request) === 'never on' ? { kind: 'answer', breakAfter: 1, breakWith: 'stall' } : SLOW;
    });
  }
  const service = await startPool(t, servers, { CHROMA_URL, GENERATION_TIMEOUT_MS: '1000' });
  const results = await service.run(['for ever', 'never on', ...numbered(300)]);
  const failed = results.filter(({ status }) => status === 'failed');
  t.same(
    new Map(failed.map(({ custom_id: id, error }) => [id, error?.code])),
    new Map([
      ['q1', 'generation_timeout'],
      ['q2', 'generation_stalled'],
    ]),
  );
  t.ok(failed.every(({ generation }) => generation?.attempts === 3));
  t.equal(results.length, 302);
});
