import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { ServerKind } from '../../src/domain/server-kind.ts';
import { SERVER_KINDS } from '../../src/domain/server-kind.ts';
import { type ChatCall, ModelServerClient } from '../../src/model-server/model-server-client.ts';
import { requestIdFieldsBeside } from '../../src/model-server/taking-back.ts';
import { systemClock } from '../../src/time.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { FakeSglang } from '../fakes/fake-sglang.ts';
import { ManualClock } from '../fakes/manual-clock.ts';

const LONG_MS = 120_000;
const MESSAGES = [{ role: 'user', content: 'Why?' }];

async function setup(t: Test, clock = systemClock) {
  const kind = new FakeSglang();
  kind.leaks = true;
  const server = await startFakeModelServer({ kind });
  const client = new ModelServerClient(clock);
  t.teardown(async () => {
    await client.close();
    await server.close();
  });
  let lastId = 0;
  const call = (changes: Partial<ChatCall> = {}, signal?: AbortSignal) => {
    lastId += 1;
    return client.chatCompletion(
      {
        endpointUrl: server.url,
        apiKey: 'sk-1',
        serverKind: 'sglang',
        requestId: `request-${lastId}`,
        body: { model: 'fake-model', messages: MESSAGES },
        totalTimeoutMs: LONG_MS,
        firstTokenTimeoutMs: LONG_MS,
        stallTimeoutMs: LONG_MS,
        ...changes,
      },
      signal,
    );
  };
  /** Cancels a call that waits for its answer. */
  const cancelOne = async (serverKind: ServerKind = 'sglang') => {
    server.respond({ kind: 'answer', hold: true });
    const controller = new AbortController();
    const outcome = call({ serverKind }, controller.signal);
    await server.until(() => server.inFlight === 1);
    controller.abort();
    t.match(await outcome, { kind: 'failure', class: 'cancelled' });
    await server.until(() => server.inFlight === 0);
  };
  return { server, kind, client, call, cancelOne };
}

t.test('gives SGLang an id with each request, and nobody else', async (t) => {
  const { server, call } = await setup(t);
  for (const serverKind of SERVER_KINDS) await call({ serverKind, requestId: `id-${serverKind}` });
  t.same(
    server.requests.map(({ body }) => body.rid),
    SERVER_KINDS.map((kind) => (kind === 'sglang' ? 'id-sglang' : undefined)),
  );
});

t.test('the id is ours, whatever the line asks for', async (t) => {
  const { server, call } = await setup(t);
  await call({ body: { model: 'fake-model', messages: MESSAGES, rid: 'theirs' } });
  await call({ serverKind: 'vllm', body: { model: 'fake-model', messages: MESSAGES, rid: 'theirs' } });
  t.same(
    server.requests.map(({ body }) => body.rid),
    ['request-1', 'theirs'],
  );
});

t.test('takes back what it ends before its time, so that no generation goes on for nobody', async (t) => {
  const clock = new ManualClock();
  const { server, kind, call, cancelOne } = await setup(t, clock);
  await cancelOne();
  for (const deadline of ['totalTimeoutMs', 'firstTokenTimeoutMs', 'stallTimeoutMs'] as const) {
    server.respond({
      kind: 'answer',
      breakAfter: 1,
      breakWith: 'stall',
      hold: deadline !== 'stallTimeoutMs',
    });
    let isOver = false;
    const outcome = call({ [deadline]: 5_000 }).finally(() => {
      isOver = true;
    });
    await server.until(() => server.inFlight === 1);
    // Not beyond its end: what then goes to the server has a deadline of its own.
    while (!isOver) {
      await clock.advance(1_000);
      await nextTurn();
    }
    t.match(await outcome, { class: 'ambiguous', code: /generation_(?:timeout|stalled)/ });
  }
  const megabyte = `data: {"choices":[{"delta":{"content":"${'x'.repeat(2 ** 20)}"}}]}\n\n`;
  server.respond({ kind: 'raw', pieces: Array(20).fill(megabyte), end: 'open' });
  t.match(await call(), { code: 'generation_invalid', message: /size limit/ });
  await server.until(() => kind.abortedIds.length === 5);
  t.same(kind.abortedIds, ['request-1', 'request-2', 'request-3', 'request-4', 'request-5']);
  t.same(kind.ghosts(server.requests), []);
});

t.test('a server of another kind is told nothing', async (t) => {
  const { server, kind, cancelOne } = await setup(t);
  for (const serverKind of SERVER_KINDS) if (serverKind !== 'sglang') await cancelOne(serverKind);
  await cancelOne();
  await server.until(() => kind.abortedIds.length > 0);
  t.same(kind.abortedIds, [server.requests.at(-1)?.body.rid], 'only the last was taken back');
  t.equal(kind.ghosts(server.requests).length, SERVER_KINDS.length - 1, 'the others had no id');
});

t.test('what ended by itself, or never left, is not taken back', async (t) => {
  const { server, kind, call, cancelOne } = await setup(t);
  const controller = new AbortController();
  const connecting = call({}, controller.signal);
  controller.abort();
  t.match(await connecting, { kind: 'failure', class: 'cancelled' });
  await call();
  server.respond({ kind: 'status', status: 503 });
  await call();
  server.respond({ kind: 'answer', breakAfter: 1, breakWith: 'cut' });
  await call();
  await call({}, AbortSignal.abort());
  await call({ endpointUrl: 'http://127.0.0.1:1' });
  await cancelOne();
  await server.until(() => kind.abortedIds.length > 0);
  t.same(kind.abortedIds, ['request-7']);
});

t.test('shows its key when it takes a request back', async (t) => {
  const keys: unknown[] = [];
  const kind = new FakeSglang();
  const server = await startFakeModelServer({
    kind: {
      listEntry: (id) => kind.listEntry(id),
      answer: (request) => {
        keys.push(request.headers.authorization);
        return kind.answer(request);
      },
    },
  });
  t.teardown(() => server.close());
  const { call } = await setup(t);
  server.respond({ kind: 'answer', hold: true });
  const controller = new AbortController();
  const outcome = call({ endpointUrl: server.url }, controller.signal);
  await server.until(() => server.inFlight === 1);
  controller.abort();
  await outcome;
  await server.until(() => keys.length === 1);
  t.same(keys, ['Bearer sk-1']);
});

t.test('nobody waits for it, and nobody hears when it fails', async (t) => {
  const { server, kind, cancelOne } = await setup(t);
  for (const fault of [
    { kind: 'status', status: 404 },
    { kind: 'status', status: 500, hold: true },
    { kind: 'raw', pieces: ['x'.repeat(100_000)], end: 'open' },
    { kind: 'garbage' },
    { kind: 'reset' },
  ] as const) {
    server.routeFaults.set('/abort_request', fault);
    await cancelOne();
    await server.until(() => server.paths.length > 0);
    server.paths.length = 0;
  }
  t.same(kind.abortedIds, []);
});

t.test('gives up after two seconds', async (t) => {
  const clock = new ManualClock();
  const { server, cancelOne } = await setup(t, clock);
  server.routeFaults.set('/abort_request', { kind: 'status', status: 200, hold: true });
  await cancelOne();
  await server.until(() => server.paths.includes('/abort_request') && server.connections === 1);
  await clock.advance(1_999);
  t.equal(clock.sleepers, 1);
  t.equal(server.connections, 1, 'it is still waited for');
  await clock.advance(1);
  t.equal(clock.sleepers, 0);
  await server.until(() => server.connections === 0);
});

t.test('closing the client does not wait for it', async (t) => {
  const { server, client, cancelOne } = await setup(t);
  server.routeFaults.set('/abort_request', { kind: 'status', status: 200, hold: true });
  await cancelOne();
  await server.until(() => server.paths.includes('/abort_request'));
  await client.close();
  await server.until(() => server.connections === 0);
});

t.test('an abort from elsewhere ends the answer as that of a full server', async (t) => {
  const { server, call } = await setup(t);
  for (const behaviour of [{ hold: true }, { breakAfter: 1, breakWith: 'stall' }] as const) {
    server.respond({ kind: 'answer', ...behaviour });
    const outcome = call();
    await server.until(() => server.inFlight === 1);
    const rid = server.requests.at(-1)?.body.rid;
    await fetch(`${server.url}/abort_request`, { method: 'POST', body: JSON.stringify({ rid }) });
    t.match(await outcome, { kind: 'failure', class: 'overload' });
  }
});

t.test('a body that is not ours gets an id only where it asks for one sequence and has none', async (t) => {
  const fields = (body: object, kind: ServerKind = 'sglang') =>
    requestIdFieldsBeside(kind, 'id', { ...body });
  for (const body of [{}, { n: 1 }, { n: null }, { prompt: 'x' }]) t.same(fields(body), { rid: 'id' });
  for (const body of [{ n: 2 }, { prompt: ['x'] }, { input: 'x' }, { rid: 'mine' }, { rid: null }]) {
    t.same(fields(body), {}, JSON.stringify(body));
  }
  t.same(fields({}, 'vllm'), {});
});
