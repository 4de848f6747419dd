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
  t.match(await list(), { kind: 'models', models: [{ id: 'b' }, { id: 'a' }] });
  server.models = [];
  t.same(await list(), { kind: 'models', models: [] });
});

t.test('reads what the list says of each model, and leaves out what cannot be one', async (t) => {
  const { server, list } = await setup(t);
  const data = [
    { id: 'a', owned_by: 'vllm', max_model_len: 4_096 },
    { id: 'b', context_length: 2_048 },
    { id: 'c', context_window: 1_024 },
    { id: 'd', meta: { n_ctx: 512, n_ctx_train: 131_072 } },
    { id: 'e', meta: { n_ctx_train: 131_072 } },
    { id: 'f', owned_by: 7, max_model_len: -1 },
    { id: 'g', max_model_len: '4096', context_length: 1e300 },
    { id: 'h', max_model_len: 0.5 },
    { id: '' },
    { id: 'x'.repeat(513) },
    { id: 8 },
    null,
    'i',
  ];
  server.modelsAnswer = JSON.stringify({ data });
  const found = await list();
  if (found.kind === 'failure') throw new Error(found.message);
  t.same(
    found.models.map(({ id, contextTokens }) => [id, contextTokens]),
    [
      ['a', 4_096],
      ['b', 2_048],
      ['c', 1_024],
      ['d', 512],
      ['e', null],
      ['f', null],
      ['g', null],
      ['h', null],
    ],
  );
  t.same(
    found.models.map(({ ownedBy }) => ownedBy),
    ['vllm', null, null, null, null, null, null, null],
  );
  server.modelsAnswer = JSON.stringify({
    data: Array.from({ length: 5_000 }, (_, id) => ({ id: `m${id}` })),
  });
  t.match(await list(), { models: { length: 1_000 } }, 'a list without end is cut');
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
