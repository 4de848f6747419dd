import t, { type Test } from 'tap';
import { ModelServerClient } from '../../src/model-server/model-server-client.ts';
import { systemClock } from '../../src/time.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';

async function setup(t: Test) {
  const server = await startFakeModelServer();
  const client = new ModelServerClient(systemClock);
  t.teardown(async () => {
    await client.close();
    await server.close();
  });
  const list = (timeoutMs = 120_000, signal?: AbortSignal) =>
    client.listModels({ endpointUrl: server.url, apiKey: null, timeoutMs }, signal);
  return { server, client, list };
}

t.test('names the models in the order of the server', async (t) => {
  const { server, list } = await setup(t);
  server.models = ['b', 'a'];
  t.same(await list(), { kind: 'models', modelIds: ['b', 'a'] });
  server.models = [];
  t.same(await list(), { kind: 'models', modelIds: [] });
});

t.test('tells a server that is none from one that is gone', async (t) => {
  const { server, list } = await setup(t);
  server.models = null;
  t.match(await list(), { kind: 'failure', class: 'misconfigured' });
  server.modelsAnswer = '<html>hello</html>';
  t.match(await list(), {
    kind: 'failure',
    class: 'ambiguous',
    code: 'generation_invalid',
    message: /hello/,
  });
  await server.refuse();
  t.match(await list(), { kind: 'failure', class: 'hard', code: 'generation_unreachable' });
});

t.test('does not wait for a silent server, and lets go of the connection', async (t) => {
  const { server, list } = await setup(t);
  server.modelsAnswer = 'hold';
  t.match(await list(20), { kind: 'failure', class: 'ambiguous', code: 'generation_timeout' });
  await server.until(() => server.connections === 0);
});

t.test('can be cancelled', async (t) => {
  const { server, list } = await setup(t);
  server.modelsAnswer = 'hold';
  const controller = new AbortController();
  const outcome = list(120_000, controller.signal);
  await server.until(() => server.connections === 1);
  controller.abort();
  t.match(await outcome, { kind: 'failure', class: 'cancelled' });
});
