import t, { type Test } from 'tap';
import type { GenerationOutcome } from '../../src/domain/generation.ts';
import type { Endpoint } from '../../src/gpu-pool/endpoint.ts';
import { GpuPool } from '../../src/gpu-pool/gpu-pool.ts';
import { modelFailure } from '../../src/model-server/failures.ts';
import { ModelServerClient } from '../../src/model-server/model-server-client.ts';
import { systemClock } from '../../src/time.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { candidate, NO_GPUS, report } from '../fakes/pool-fixtures.ts';
import { recordingLog } from '../fakes/recording-log.ts';
import { until } from '../fakes/until.ts';
import { success } from '../fakes/work-fixtures.ts';

type Answer = readonly string[] | 'hard' | 'misconfigured' | 'ambiguous';

const refused = modelFailure('hard', 'connection refused', { isRefused: true });
const nowhere = new Set<string>();

/** A pool whose servers answer probes as the test says, by name; one that is not named refuses. */
async function setup(
  t: Test,
  answers: Record<string, Answer>,
  {
    window = 2,
    isExpected = true,
    count = 0,
    tryOut = async (_: string): Promise<GenerationOutcome> => success,
  } = {},
) {
  const clock = new ManualClock();
  const { log, lines } = recordingLog();
  const names =
    count > 0 ? Array.from({ length: count }, (_, index) => `gpu-${index}`) : Object.keys(answers);
  const trials: string[] = [];
  let looks = 0;
  const pool = new GpuPool({
    candidates: names.map((name) => candidate(name, { isExpected })),
    gpus: NO_GPUS,
    window,
    clock,
    log,
    inspect: async ({ name }) => {
      looks += 1;
      const answer = answers[name] ?? 'hard';
      if (typeof answer !== 'string') return report(answer);
      return answer === 'hard' ? refused : modelFailure(answer, `it is ${answer}`);
    },
    tryOut: async ({ name }) => {
      trials.push(name);
      return tryOut(name);
    },
  });
  t.teardown(() => pool.stop());
  await pool.start();
  pool.open();
  const endpoint = (name: string) => pool.endpoints.find((one) => one.name === name)!;
  return { pool, clock, lines, answers, endpoint, trials, looks: () => looks };
}

/** The endpoint that gets the next line of so many tokens. */
function pick(
  pool: GpuPool,
  stage: 'generation' | 'rag',
  model: string | null,
  { avoid = nowhere, tokens = 0 }: { avoid?: ReadonlySet<string>; tokens?: number } = {},
): Endpoint | null {
  const found = pool.withRoom(stage, model, avoid).find((endpoint) => endpoint.hasRoom({ tokens, stage }));
  if (found) pool.picked(found);
  return found ?? null;
}

/** It is out, whatever runs there. */
function takeOut(endpoint: Endpoint): void {
  endpoint.contradicted();
  endpoint.contradicted();
}

/** Occupies a place until the test ends. */
function occupy(t: Test, endpoint: Endpoint): void {
  const { promise, resolve } = Promise.withResolvers<typeof success>();
  endpoint.run(() => promise).catch(() => {});
  t.teardown(() => resolve(success));
}

t.test('picks the least loaded, in turns where they are equal', async (t) => {
  const { pool } = await setup(t, { a: ['m'], b: ['m'], c: ['m'] });
  const picks: string[] = [];
  for (let count = 0; count < 6; count += 1) {
    const picked = pick(pool, 'generation', null)!;
    picks.push(picked.name);
    occupy(t, picked);
  }
  t.same(picks.slice(0, 3).sort(), ['a', 'b', 'c']);
  t.same(picks.slice(3).sort(), ['a', 'b', 'c']);
  const uneven = await setup(t, { a: ['m'], b: ['m'] }, { window: 4 });
  for (let count = 0; count < 3; count += 1) occupy(t, uneven.endpoint('a'));
  for (let count = 0; count < 3; count += 1) {
    const picked = pick(uneven.pool, 'generation', null)!;
    t.equal(picked.name, 'b');
    occupy(t, picked);
  }
  const idle = await setup(t, { a: ['m'], b: ['m'] });
  t.same(
    Array.from({ length: 4 }, () => pick(idle.pool, 'generation', null)?.name).sort(),
    ['a', 'a', 'b', 'b'],
    'also when nothing runs',
  );
});

t.test('picks nobody when all are full, and somebody as soon as one has room', async (t) => {
  const { pool, endpoint } = await setup(t, { a: ['m'], b: ['m'] }, { window: 1 });
  let finish = () => {};
  const first = endpoint('a').run(() => new Promise((resolve) => (finish = () => resolve(success))));
  for (let next = pick(pool, 'generation', null); next; next = pick(pool, 'generation', null))
    occupy(t, next);
  let hasRoom = false;
  pool.whenRoom(() => {
    hasRoom = true;
  });
  finish();
  await first;
  t.ok(hasRoom);
  t.equal(pick(pool, 'generation', null)?.name, 'a');
});

t.test('picks only who serves the model', async (t) => {
  const { pool, endpoint } = await setup(t, { a: ['small'], b: ['small', 'big'], c: 'hard' });
  t.equal(pick(pool, 'generation', 'big')?.name, 'b');
  t.equal(pick(pool, 'generation', 'none'), null);
  while (endpoint('b').hasRoom()) occupy(t, endpoint('b'));
  t.equal(pick(pool, 'generation', 'big'), null, 'waits rather than asking another model');
});

t.test('avoids an endpoint as long as another one that is up serves the model', async (t) => {
  const { pool, endpoint } = await setup(t, { a: ['m'], b: ['m', 'rare'] });
  const avoid = new Set(['b']);
  for (let count = 0; count < 3; count += 1) t.equal(pick(pool, 'generation', 'm', { avoid })?.name, 'a');
  t.equal(pick(pool, 'generation', 'rare', { avoid })?.name, 'b', 'nobody else has it');
  while (endpoint('a').hasRoom()) occupy(t, endpoint('a'));
  t.equal(pick(pool, 'generation', 'm', { avoid }), null, 'waits for the other one');
  takeOut(endpoint('a'));
  t.equal(pick(pool, 'generation', 'm', { avoid })?.name, 'b');
  t.ok(pick(pool, 'generation', 'm', { avoid: new Set(['a', 'b']) }), 'all avoided: any');
});

t.test('a model is served nowhere only when everybody who should be there has said so', async (t) => {
  const { pool, endpoint } = await setup(t, { a: ['small'], b: ['big'] });
  t.equal(pool.servesNowhere('generation', 'big'), false);
  t.equal(pool.servesNowhere('generation', 'none'), true);
  takeOut(endpoint('b'));
  t.equal(pool.servesNowhere('generation', 'none'), false, 'the one that is away may have it');
  const ports = await setup(t, { 'gpu-0': ['small'] }, { isExpected: false, count: 4 });
  t.equal(ports.pool.servesNowhere('generation', 'none'), true, 'empty ports are nobody');
  const empty = await setup(t, {}, { isExpected: false, count: 4 });
  t.equal(empty.pool.servesNowhere('generation', 'none'), false);
});

t.test('a model that a server had which is gone is waited for, and found when it is back', async (t) => {
  const answers: Record<string, Answer> = { 'gpu-0': ['small'], 'gpu-1': ['big'] };
  const { pool, clock, endpoint } = await setup(t, answers, { isExpected: false, count: 4 });
  answers['gpu-1'] = 'hard';
  await clock.advance(120_000);
  t.equal(endpoint('gpu-1').phase, 'absent', 'a restart that takes long');
  t.equal(pool.servesNowhere('generation', 'big'), false);
  t.equal(pool.servesNowhere('generation', 'none'), true);
  answers['gpu-1'] = ['big'];
  await clock.advance(10_000);
  t.equal(pick(pool, 'generation', 'big')?.name, 'gpu-1');
});

t.test('says what it waits for: who is dead and why, or where nobody answered', async (t) => {
  const { pool, endpoint } = await setup(t, { a: 'hard', b: 'misconfigured' });
  t.equal(
    pool.waitingFor('generation', null),
    'a model server to come back (a: connection refused; b: it is misconfigured)',
  );
  endpoint('a').saw(report(['m']));
  t.equal(pool.waitingFor('generation', null), null);
  t.equal(pool.waitingFor('generation', 'm'), null);
  t.equal(
    pool.waitingFor('generation', 'big'),
    'a server of the model "big" (none at a; b: it is misconfigured)',
    'a line that asks for another model',
  );
  endpoint('a').saw(report([]));
  endpoint('b').saw(report([]));
  t.equal(
    pool.waitingFor('generation', null),
    'a chat model (none at a, b)',
    'servers with nothing installed',
  );

  const ports = await setup(t, {}, { isExpected: false, count: 8 });
  t.equal(
    ports.pool.waitingFor('generation', null),
    'a model server: none answered at http://gpu-0 … http://gpu-7',
  );
  ports.pool.hint = 'set this';
  t.match(ports.pool.waitingFor('generation', null), /http:\/\/gpu-7; set this$/);
  ports.endpoint('gpu-3').saw(report(['m']));
  takeOut(ports.endpoint('gpu-3'));
  t.equal(
    ports.pool.waitingFor('generation', null),
    'a model server to come back (gpu-3: it refuses lines that other endpoints answer)',
    'seen before: known',
  );
});

t.test('full servers are waited for, busy ones are not', async (t) => {
  const { pool, clock, endpoint } = await setup(t, { a: ['m'], b: ['m'] }, { window: 1 });
  while (endpoint('b').hasRoom()) occupy(t, endpoint('b'));
  await endpoint('a').run(async () => modelFailure('overload', 'full', { retryAfterMs: 5_000 }));
  t.equal(pool.waitingFor('generation', null), null, 'b works');
  t.notOk(pool.hasRoom('generation'));
  t.ok(pool.isServing('generation'));
  takeOut(endpoint('b'));
  t.match(pool.waitingFor('generation', 'm'), /^a to have room again/);
  t.ok(pool.isServing('generation'));
  await clock.advance(5_000);
  t.equal(pool.waitingFor('generation', 'm'), null);
  t.ok(pool.hasRoom('generation'));
  takeOut(endpoint('a'));
  t.notOk(pool.hasRoom('generation') || pool.isServing('generation'));
});

t.test('finds a server that starts later, and one that comes back', async (t) => {
  const { pool, clock, answers, endpoint, lines } = await setup(t, {}, { isExpected: false, count: 3 });
  t.equal(pick(pool, 'generation', null), null);
  answers['gpu-2'] = ['m'];
  await clock.advance(2_500);
  t.equal(pick(pool, 'generation', null)?.name, 'gpu-2');
  await endpoint('gpu-2').run(async () => refused);
  t.equal(pick(pool, 'generation', null), null);
  await clock.advance(1_000);
  t.equal(pick(pool, 'generation', null)?.name, 'gpu-2');
  t.same(
    lines.map(({ endpoint: name, msg }) => [name, msg]),
    [
      ['gpu-2', 'endpoint is up'],
      ['gpu-2', 'endpoint is down'],
      ['gpu-2', 'endpoint is back, and is tried'],
      ['gpu-2', 'endpoint is up'],
    ],
    'one log line a change, none for the empty ports',
  );
});

t.test('notices other models and a silent death while nothing runs', async (t) => {
  const { clock, answers, endpoint } = await setup(t, { a: ['old'] });
  answers.a = ['new'];
  await clock.advance(16_000);
  t.match(endpoint('a'), { phase: 'up', models: { ids: ['new'] } });
  answers.a = 'hard';
  await clock.advance(16_000);
  t.equal(endpoint('a').phase, 'down');
});

t.test('a probe that fails does not overrule requests that run', async (t) => {
  const { clock, answers, endpoint } = await setup(t, { a: ['m'], b: ['m'] });
  occupy(t, endpoint('a'));
  answers.a = 'hard';
  answers.b = 'ambiguous';
  await clock.advance(20_000);
  t.equal(endpoint('a').phase, 'up');
  t.equal(endpoint('b').phase, 'up', 'slow to answer is not dead');
});

t.test('stops looking at stop()', async (t) => {
  const { pool, clock, looks, endpoint, answers } = await setup(t, { a: 'hard' });
  await pool.stop();
  await pool.stop();
  const before = looks();
  answers.a = ['m'];
  await clock.advance(60_000);
  t.equal(looks(), before);
  t.equal(clock.sleepers, 0);
  t.equal(endpoint('a').phase, 'absent');
});

t.test('follows a real server through its death and its return', async (t) => {
  const server = await startFakeModelServer({ models: ['m'] });
  t.teardown(() => server.close());
  const client = new ModelServerClient(systemClock);
  t.teardown(() => client.close());
  const clock = new ManualClock();
  const pool = new GpuPool({
    candidates: [candidate('real', { url: server.url })],
    gpus: NO_GPUS,
    window: 1,
    clock,
    log: recordingLog().log,
    inspect: async ({ url: endpointUrl }) => {
      const list = await client.listModels({ endpointUrl, apiKey: null, timeoutMs: 10_000 });
      return list.kind === 'models' ? report(list.models.map(({ id }) => id)) : list;
    },
    tryOut: async () => success,
  });
  t.teardown(() => pool.stop());
  await pool.start();
  pool.open();
  t.equal(pool.waitingFor('generation', null), null);
  const goesOn = async (condition: () => boolean) => {
    await until('the pool to notice', async () => {
      await clock.advance(500);
      return condition();
    });
  };
  await server.refuse();
  await goesOn(() => pool.waitingFor('generation', null) !== null);
  t.match(pool.waitingFor('generation', null), /real: /);
  await server.accept();
  await goesOn(() => pick(pool, 'generation', 'm') !== null);
});
