import fc from 'fast-check';
import t, { type Test } from 'tap';
import { SERVER_KINDS, type ServerKind, type ServerReport } from '../../src/domain/server-kind.ts';
import { type InspectCall, inspectServer } from '../../src/model-server/inspect-server.ts';
import { ModelServerClient } from '../../src/model-server/model-server-client.ts';
import { type Clock, systemClock } from '../../src/time.ts';
import { FakeLlamacpp } from '../fakes/fake-llamacpp.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { FakeOllama } from '../fakes/fake-ollama.ts';
import { FakeSglang } from '../fakes/fake-sglang.ts';
import { FakeVllm } from '../fakes/fake-vllm.ts';
import type { KindRoutes } from '../fakes/kind-routes.ts';
import { ManualClock } from '../fakes/manual-clock.ts';

const LONG_MS = 120_000;

interface SetupOptions {
  readonly models?: readonly string[];
  readonly clock?: Clock;
}

async function setup<Kind extends KindRoutes | undefined>(t: Test, kind: Kind, options: SetupOptions = {}) {
  const { models = ['fake-model'], clock = systemClock } = options;
  const server = await startFakeModelServer({ models, ...(kind === undefined ? {} : { kind }) });
  const client = new ModelServerClient(clock);
  t.teardown(async () => {
    await client.close();
    await server.close();
  });
  const inspect = (changes: Partial<InspectCall> = {}, signal?: AbortSignal) =>
    inspectServer(
      client,
      { endpointUrl: server.url, apiKey: null, timeoutMs: LONG_MS, kind: null, ...changes },
      signal,
    );
  const report = async (changes: Partial<InspectCall> = {}): Promise<ServerReport> => {
    const outcome = await inspect(changes);
    if (outcome.kind === 'failure') throw new Error(outcome.message);
    return outcome;
  };
  return { server, client, kind, inspect, report };
}

const FAKES = {
  sglang: () => new FakeSglang(),
  vllm: () => new FakeVllm(),
  ollama: () => new FakeOllama(),
  llamacpp: () => new FakeLlamacpp(),
  generic: () => undefined,
} as const satisfies Record<ServerKind, () => KindRoutes | undefined>;

/** A server that does not say whose models they are, as behind a gateway that rewrites the list. */
function nameless(kind: KindRoutes): KindRoutes {
  return { listEntry: (id) => ({ id }), answer: (request) => kind.answer(request) };
}

t.test('finds out what a server is, with a hint and without', async (t) => {
  for (const kind of SERVER_KINDS) {
    const fake = FAKES[kind]();
    const { report } = await setup(t, fake);
    t.equal((await report()).server, kind, `${kind} with a hint`);
    if (fake === undefined) continue;
    const other = await setup(t, nameless(fake));
    t.equal((await other.report()).server, kind, `${kind} without`);
  }
});

t.test('a hint spares asking for the other kinds', async (t) => {
  const { server, report } = await setup(t, new FakeVllm());
  await report();
  t.same(server.paths, ['/v1/models', '/version', '/metrics']);
});

const ROUTES: Readonly<Record<ServerKind, readonly string[]>> = {
  sglang: ['/server_info', '/v1/loads?include=core'],
  vllm: ['/metrics'],
  ollama: ['/api/ps'],
  llamacpp: ['/props', '/slots'],
  generic: [],
};

t.test('asks a server of a known kind only what that kind knows', async (t) => {
  for (const kind of SERVER_KINDS) {
    const { server, report } = await setup(t, FAKES[kind]());
    t.equal((await report({ kind })).server, kind);
    t.same(server.paths.toSorted(), ['/v1/models', ...ROUTES[kind]].toSorted(), kind);
  }
});

t.test('a kind that was recognised wrongly does no harm', async (t) => {
  const { report } = await setup(t, undefined);
  for (const kind of SERVER_KINDS) {
    t.same(await report({ kind }), {
      kind: 'report',
      server: kind,
      models: [{ id: 'fake-model', contextTokens: null }],
      otherModels: [],
      maxRunning: null,
      kvCapacityTokens: null,
      load: null,
    });
  }
});

t.test('does not believe an owner that the routes refute, but one that only cannot answer now', async (t) => {
  const liar = await setup(t, { listEntry: (id) => ({ id, owned_by: 'vllm' }), answer: () => undefined });
  t.equal((await liar.report()).server, 'generic');

  const loading = await setup(t, new FakeLlamacpp());
  loading.kind.isLoading = true;
  t.match(await loading.report(), { server: 'llamacpp', maxRunning: null, load: null });

  const guarded = await setup(t, new FakeVllm());
  guarded.server.routeFaults.set('/version', { kind: 'status', status: 401 });
  t.equal((await guarded.report()).server, 'vllm');

  const silent = await setup(t, nameless(new FakeVllm()));
  silent.server.routeFaults.set('/version', { kind: 'status', status: 401 });
  t.equal((await silent.report()).server, 'generic', 'without a hint only a yes counts');
});

t.test('adds up what the ranks of SGLang have', async (t) => {
  const { kind, report } = await setup(t, new FakeSglang());
  kind.askedMaxRunning = 100;
  kind.ranks = [
    { maxRunning: 30, kvTokens: 1_000, load: { running: 3, waiting: 1 } },
    { maxRunning: 20, kvTokens: 2_000, load: { running: 4, waiting: 2 } },
  ];
  const expected = {
    server: 'sglang',
    models: [{ id: 'fake-model', contextTokens: 32_768 }],
    maxRunning: 50,
    kvCapacityTokens: 3_000,
    load: { running: 7, waiting: 3 },
  };
  t.match(await report(), expected);
  kind.version = 'old';
  t.match(await report(), { ...expected, maxRunning: 100, kvCapacityTokens: 2_000 });
  kind.askedMaxRunning = null;
  t.match(await report(), { ...expected, maxRunning: null, kvCapacityTokens: 2_000 });
});

t.test('takes the numbers of the SGLang server from where they are', async (t) => {
  const { server, kind, report } = await setup(t, new FakeSglang());
  kind.contextTokens = null;
  server.routeFaults.set('/server_info', {
    kind: 'status',
    status: 200,
    body: {
      server_args: { context_length: 4_096, max_running_requests: 8 },
      scheduler_info: { max_total_num_tokens: 500 },
    },
  });
  server.routeFaults.set('/v1/loads?include=core', { kind: 'status', status: 404 });
  t.match(await report({ kind: 'sglang' }), {
    models: [{ contextTokens: 4_096 }],
    maxRunning: 8,
    kvCapacityTokens: 500,
    load: null,
  });
  server.routeFaults.delete('/v1/loads?include=core');
  server.routeFaults.set('/server_info', { kind: 'status', status: 500 });
  server.routeFaults.set('/get_server_info', { kind: 'status', status: 500 });
  t.match(
    await report({ kind: 'sglang' }),
    { maxRunning: 64, kvCapacityTokens: 400_000, load: { running: 0, waiting: 0 } },
    'the ranks tell it as well',
  );
});

t.test('adds up what the engines of vLLM have', async (t) => {
  const { kind, report } = await setup(t, new FakeVllm());
  kind.kvBlocks = [100, null, 200];
  kind.loads = [
    { running: 3, waiting: 1 },
    { running: 4, waiting: 2 },
  ];
  t.match(await report(), {
    server: 'vllm',
    models: [{ id: 'fake-model', contextTokens: 16_384 }],
    maxRunning: null,
    kvCapacityTokens: 300 * 16,
    load: { running: 7, waiting: 3 },
  });
});

t.test('puts the loaded models of Ollama first, and those that cannot chat aside', async (t) => {
  const installed = ['gemma3:4b', 'nomic-embed-text:latest', 'qwen3:8b', 'llama3.2:latest'];
  const { kind, report } = await setup(t, new FakeOllama(), { models: installed });
  const ids = async () => (await report()).models.map(({ id, contextTokens }) => [id, contextTokens]);
  t.same(await ids(), [
    ['gemma3:4b', null],
    ['qwen3:8b', null],
    ['llama3.2:latest', null],
  ]);
  kind.loaded = [
    { name: 'nomic-embed-text:latest', contextTokens: 2_048 },
    { name: 'llama3.2', contextTokens: 4_096 },
    { name: 'qwen3:8b' },
    { name: 'gone:1b', contextTokens: 8_192 },
  ];
  t.same(await ids(), [
    ['llama3.2:latest', 4_096],
    ['qwen3:8b', null],
    ['gemma3:4b', null],
  ]);
  t.match(await report(), { server: 'ollama', maxRunning: null, kvCapacityTokens: null, load: null });
  t.same((await report()).otherModels, [{ id: 'nomic-embed-text:latest', contextTokens: 2_048 }]);
});

t.test('reads the slots of llama.cpp, where it shows them', async (t) => {
  const { server, kind, client, report } = await setup(t, new FakeLlamacpp());
  server.respond({ kind: 'answer', hold: true });
  const call = client.chatCompletion({
    endpointUrl: server.url,
    apiKey: null,
    serverKind: 'llamacpp',
    requestId: 'request-1',
    body: { model: 'fake-model', messages: [] },
    totalTimeoutMs: LONG_MS,
    firstTokenTimeoutMs: LONG_MS,
    stallTimeoutMs: LONG_MS,
  });
  await server.until(() => server.inFlight === 1);
  const expected = {
    server: 'llamacpp',
    models: [{ id: 'fake-model', contextTokens: 8_192 }],
    maxRunning: 4,
    load: { running: 1, waiting: 0 },
  };
  t.match(await report(), expected);
  kind.version = 'old';
  t.match(await report(), expected);
  kind.showsSlots = false;
  t.match(await report(), { ...expected, load: null });
  server.release();
  await call;
});

t.test('the list of models alone decides whether a server can be used', async (t) => {
  const { server, inspect } = await setup(t, new FakeSglang());
  server.models = null;
  t.match(await inspect(), { kind: 'failure', class: 'misconfigured' });
  server.modelsAnswer = '<html>hello</html>';
  t.match(await inspect(), { kind: 'failure', class: 'ambiguous', code: 'generation_invalid' });
  server.modelsAnswer = 'hold';
  t.match(await inspect({ timeoutMs: 20 }), { kind: 'failure', code: 'generation_timeout' });
  await server.refuse();
  t.match(await inspect(), { kind: 'failure', class: 'hard', code: 'generation_unreachable' });
});

t.test('no trouble on the other routes is the trouble of the server', async (t) => {
  const huge = Array(3).fill(`{"x":"${'y'.repeat(2 ** 20)}`);
  const faults = [
    { kind: 'status', status: 401 },
    { kind: 'status', status: 404 },
    { kind: 'status', status: 500, body: 'no' },
    { kind: 'status', status: 307, headers: { location: '/v1/models' } },
    { kind: 'status', status: 200, body: '' },
    { kind: 'status', status: 200, body: '<html>hello</html>' },
    { kind: 'status', status: 200, body: 'null' },
    { kind: 'status', status: 200, body: '['.repeat(500_000) },
    { kind: 'raw', pieces: huge, end: 'open' },
    { kind: 'raw', pieces: ['{"total_slots":'], end: 'cut' },
    { kind: 'garbage' },
    { kind: 'reset' },
  ] as const;
  const paths = ['/server_info', '/get_server_info', '/v1/loads?include=core', '/get_load', '/metrics'];
  for (const kind of ['sglang', 'vllm', 'ollama', 'llamacpp'] as const) {
    const { server, report } = await setup(t, nameless(FAKES[kind]()));
    for (const fault of faults) {
      for (const path of [...paths, '/api/ps', '/props', '/slots']) server.routeFaults.set(path, fault);
      t.same(
        await report({ kind }),
        {
          kind: 'report',
          server: kind,
          models: [{ id: 'fake-model', contextTokens: null }],
          otherModels: [],
          maxRunning: null,
          kvCapacityTokens: null,
          load: null,
        },
        `${kind}: ${JSON.stringify(fault).slice(0, 80)}`,
      );
    }
    await server.until(() => server.connections <= 2);
  }
});

t.test('does not wait for routes that say nothing, and lets go of their connections', async (t) => {
  for (const kind of ['sglang', 'vllm', 'ollama', 'llamacpp'] as const) {
    const clock = new ManualClock();
    const { server, report } = await setup(t, FAKES[kind](), { clock });
    for (const path of ROUTES[kind]) {
      server.routeFaults.set(path, { kind: 'status', status: 200, hold: true });
    }
    const waiting = report({ kind, timeoutMs: 5_000 });
    await server.until(() => ROUTES[kind].every((path) => server.paths.includes(path)));
    await clock.advance(5_000);
    t.match(await waiting, { server: kind, maxRunning: null, load: null });
    t.same(server.paths.toSorted(), ['/v1/models', ...ROUTES[kind]].toSorted(), 'no time is left for more');
    await server.until(() => server.connections <= 1);
  }
});

t.test('can be cancelled while it asks for more than the list', async (t) => {
  const { server, inspect } = await setup(t, new FakeVllm());
  server.routeFaults.set('/metrics', { kind: 'status', status: 200, hold: true });
  const controller = new AbortController();
  const outcome = inspect({}, controller.signal);
  await server.until(() => server.paths.includes('/metrics'));
  controller.abort();
  t.match(await outcome, { kind: 'failure', class: 'cancelled' });
});

t.test('shows its key on every route', async (t) => {
  const keys = new Set<unknown>();
  const kind = new FakeSglang();
  const { server, report } = await setup(t, {
    listEntry: (id) => kind.listEntry(id),
    answer: (request) => {
      keys.add(request.headers.authorization);
      return kind.answer(request);
    },
  });
  await report({ apiKey: 'sk-1' });
  t.ok(server.paths.length > 2);
  t.same([...keys], ['Bearer sk-1']);
});

/** JSON as a server may send it that wants to do harm, around the names that are looked for. */
const hostileJson = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'medium' },
    fc.constantFrom(null, true, -1, 0, 0.5, 7, 1e6, 1e7, 1e300, '', '7', 'NaN', '__proto__'),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(
      fc.constantFrom(
        ...['server_args', 'scheduler_info', 'internal_states', 'memory_usage', 'token_capacity', 'loads'],
        ...['effective_max_running_requests_per_dp', 'max_running_requests', 'max_total_num_tokens'],
        ...['num_running_reqs', 'num_waiting_reqs', 'num_reqs', 'context_length', 'models', 'name', 'model'],
        ...['total_slots', 'default_generation_settings', 'n_ctx', 'is_processing', 'state', 'toString'],
      ),
      tie('value'),
      { maxKeys: 6 },
    ),
  ),
})).value;

t.test('believes only numbers that can be, whatever a server answers', async (t) => {
  const setups = new Map(
    await Promise.all(
      (['sglang', 'ollama', 'llamacpp'] as const).map(
        async (kind) =>
          [kind, await setup(t, { listEntry: (id) => ({ id }), answer: () => undefined })] as const,
      ),
    ),
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...setups.keys()), hostileJson, async (kind, payload) => {
      const { server, report } = setups.get(kind)!;
      const body = JSON.stringify(payload);
      for (const path of [
        '/server_info',
        '/v1/loads?include=core',
        '/get_load',
        '/api/ps',
        '/props',
        '/slots',
      ]) {
        server.routeFaults.set(path, { kind: 'status', status: 200, body });
      }
      const { maxRunning, kvCapacityTokens, load, models } = await report({ kind });
      const isWhole = (value: number | null | undefined, min: number) =>
        value == null || (Number.isSafeInteger(value) && value >= min);
      return (
        models.length === 1 &&
        isWhole(maxRunning, 1) &&
        isWhole(kvCapacityTokens, 1) &&
        isWhole(models[0]?.contextTokens, 1) &&
        isWhole(load?.running, 0) &&
        isWhole(load?.waiting, 0)
      );
    }),
    { numRuns: 200 },
  );
});
