// Model servers that come and go while a batch runs, and the pool as the API shows it.

import t, { type Test } from 'tap';
import { type FakeModelServer, startFakeModelServer } from '../fakes/fake-model-server.ts';
import { freePortRow } from '../fakes/port-row.ts';
import { questions, type RunningService, startService } from '../fakes/running-service.ts';
import { until } from '../fakes/until.ts';

interface EndpointObject {
  readonly name: string;
  readonly state: string;
}

const settings = { RAG_MODE: 'off', GPU_CONCURRENCY: '2' };

async function serverAt(t: Test, port = 0): Promise<FakeModelServer> {
  const server = await startFakeModelServer({ port });
  t.teardown(() => server.close());
  return server;
}

async function stateOf(service: RunningService, name: string): Promise<string | null> {
  const { data } = await service.get<{ data: EndpointObject[] }>('/endpoints');
  return data.find((endpoint) => endpoint.name === name)?.state ?? null;
}

t.test('servers are found on their ports, holes included, and come and go without a lost line', async (t) => {
  const base = await freePortRow(8);
  const early = await serverAt(t, base + 1);
  early.respond({ kind: 'answer', hold: true });
  const service = await startService(t, { ...settings, GPU_BASE_PORT: String(base) });
  const { id } = await service.upload(questions(60));
  await early.until(() => early.inFlight === 2);
  t.match(await service.get('/endpoints'), {
    data: [
      { name: 'gpu-1', url: early.url, kind: 'generic', state: 'up', in_flight: 2, models: ['fake-model'] },
    ],
    waiting_for: null,
  });

  const late = await serverAt(t, base + 3);
  await late.until(() => late.requests.length > 0);
  await early.refuse();
  const results = await service.allResults(id);
  t.equal(results.length, 60);
  t.ok(results.every(({ status }) => status === 'succeeded'));
  t.ok(
    results.every(({ generation }) => generation?.attempts === 1 && generation.endpoint === 'gpu-3'),
    'the lines that were running there have lost nothing',
  );
  await until('it to be seen as down', async () => (await stateOf(service, 'gpu-1')) === 'down');
  early.respond({ kind: 'answer' });
  await early.accept();
  await until('it to be back', async () => (await stateOf(service, 'gpu-1')) === 'up');
  const before = early.requests.length;
  await service.allResults((await service.upload(questions(20))).id);
  t.ok(early.requests.length > before, 'and it takes part again');
});

t.test(
  'an endpoint drained by hand ends what runs there, and gets lines again when it is resumed',
  async (t) => {
    const [a, b] = [await serverAt(t), await serverAt(t)];
    a.respond({ kind: 'answer', hold: true });
    const service = await startService(t, { ...settings, GPU_ENDPOINTS: `a=${a.url},b=${b.url}` });
    const { id } = await service.upload(questions(40));
    await a.until(() => a.inFlight === 2);
    const drained = await service.fetch('/endpoints/a/drain', { method: 'POST' });
    t.match(await drained.json(), { name: 'a', state: 'draining', reason: 'drained by hand' });
    await until('b to answer the rest', async () => (await service.batch(id)).line_counts.succeeded === 38);
    a.release();
    t.ok((await service.allResults(id)).every(({ status }) => status === 'succeeded'));
    t.equal(await stateOf(service, 'a'), 'drained');
    t.equal(a.requests.length, 2);

    await service.fetch('/endpoints/b/drain', { method: 'POST' });
    const waiting = await service.upload(questions(4));
    await until('the batch to say what it waits for', async () =>
      /a: drained by hand; b: drained by hand/.test(
        (await service.batch(waiting.id)).progress.waiting_for ?? '',
      ),
    );
    a.respond({ kind: 'answer' });
    const headers = { 'content-type': 'application/json' };
    const resumed = await service.fetch('/endpoints/a/resume', { method: 'POST', headers, body: '{any' });
    t.match(await resumed.json(), { state: 'up' }, 'any body is fine');
    await service.allResults(waiting.id);
    t.equal(a.requests.length, 6);
  },
);

t.test('an endpoint that is not there cannot be drained, and those that are there are named', async (t) => {
  const server = await serverAt(t);
  const service = await startService(t, { ...settings, GPU_ENDPOINTS: `only=${server.url}` });
  const answer = await service.fetch('/endpoints/gpu-0/drain', { method: 'POST' });
  t.equal(answer.status, 404);
  t.match(await answer.json(), { code: 'endpoint_not_found', detail: /only/ });
});

t.test('servers that should be there and are not make the service degraded', async (t) => {
  const [here, away] = [await serverAt(t), await serverAt(t)];
  await away.refuse();
  const service = await startService(t, { ...settings, GPU_ENDPOINTS: `here=${here.url},away=${away.url}` });
  t.match(await service.get('/readyz'), { status: 'ready', degraded: ['missing_model_servers'] });
  t.match(await service.get('/endpoints'), { data: [{}, { name: 'away', state: 'absent' }], missing: 1 });
  await away.accept();
  await until('it to be found', async () => (await stateOf(service, 'away')) === 'up');
  t.match(await service.get('/readyz'), { degraded: [] });
  t.equal(await service.metric('ragmill_endpoint_breaker_state{endpoint="away"}'), 0);
});
