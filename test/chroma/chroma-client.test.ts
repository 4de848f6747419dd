// One call to Chroma: deadlines, cancelling, and what each way of failing is called.

import t from 'tap';
import { ChromaConnection } from '../../src/chroma/chroma-client.ts';
import { type Fault, faultyProxy } from '../fakes/faulty-proxy.ts';

const deadline = { timeoutMs: 30_000 };

async function setup(t: Parameters<typeof faultyProxy>[0], fault: Fault) {
  const proxy = await faultyProxy(t, 'http://127.0.0.1:1');
  proxy.onRequest = () => fault;
  return { proxy, connection: new ChromaConnection({ url: proxy.url, apiKey: 'secret' }) };
}

t.test('names each way of failing', async (t) => {
  const missing = '{"error":"x","message":"Missing field: [Missing metadata segment]"}';
  const compactor = '{"error":"x","message":"Failed to backfill request to compactor"}';
  const noDisk = '{"error":"x","message":"Error loading hnsw: Nothing found on disk"}';
  const cases: [Fault, string][] = [
    [{ kind: 'answer', status: 404, body: '{}' }, 'not_found'],
    [{ kind: 'answer', status: 412, body: missing }, 'not_found'],
    [{ kind: 'answer', status: 412, body: compactor }, 'not_found'],
    [{ kind: 'answer', status: 500, body: noDisk }, 'not_found'],
    [{ kind: 'answer', status: 500, body: '{"message":"oops"}' }, 'server'],
    [{ kind: 'answer', status: 504, body: '' }, 'server'],
    [{ kind: 'answer', status: 429, body: '' }, 'server'],
    [{ kind: 'answer', status: 400, body: '{"message":"no"}' }, 'rejected'],
    [{ kind: 'answer', status: 401, body: '' }, 'rejected'],
    [{ kind: 'answer', status: 403, body: '' }, 'rejected'],
    [{ kind: 'answer', status: 409, body: '' }, 'rejected'],
    [{ kind: 'answer', status: 422, body: '{"message":"no"}' }, 'rejected'],
    [{ kind: 'reset' }, 'unreachable'],
  ];
  for (const [fault, expected] of cases) {
    const { connection } = await setup(t, fault);
    const result = await connection.call((client) => client.collection('x').get({ ids: ['a'] }), deadline);
    t.match(result, { kind: 'failure', class: expected }, JSON.stringify(fault));
  }
  const page = await setup(t, { kind: 'answer', status: 200, body: '<html>not Chroma</html>' });
  t.match(await page.connection.call((client) => client.listCollections(), deadline), { class: 'server' });
  const nobody = new ChromaConnection({ url: 'http://127.0.0.1:1' });
  t.match(await nobody.call((client) => client.heartbeat(), deadline), { class: 'unreachable' });
});

t.test('a call that is not answered ends at its deadline, and the next call is not harmed', async (t) => {
  const { proxy, connection } = await setup(t, { kind: 'hang' });
  t.match(await connection.call((client) => client.heartbeat(), { timeoutMs: 50 }), { class: 'timeout' });
  proxy.onRequest = () => ({ kind: 'answer', status: 200, body: '{"nanosecond heartbeat": 7}' });
  t.same(await connection.call((client) => client.heartbeat(), deadline), { kind: 'ok', value: 7 });
});

t.test('the caller can cancel a call, and a cancelled caller makes none', async (t) => {
  const { proxy, connection } = await setup(t, { kind: 'hang' });
  const cancelling = new AbortController();
  proxy.onRequest = () => {
    cancelling.abort();
    return { kind: 'hang' };
  };
  const { signal } = cancelling;
  t.match(await connection.call((client) => client.heartbeat(), { ...deadline, signal }), {
    class: 'cancelled',
  });
  t.match(await connection.call((client) => client.heartbeat(), { ...deadline, signal }), {
    class: 'cancelled',
  });
  t.equal(proxy.paths.length, 1);
});

t.test('a mistake of our own is no failure of Chroma', async (t) => {
  const { connection } = await setup(t, { kind: 'hang' });
  await t.rejects(
    connection.call(() => Promise.reject(new RangeError('ours')), deadline),
    { message: 'ours' },
  );
});

t.test('refuses an address that it cannot use', async (t) => {
  for (const url of ['chroma:8000', 'ftp://chroma', 'http://chroma:8000/base', '']) {
    t.throws(() => new ChromaConnection({ url }), { code: 'config_invalid' }, url);
  }
});
