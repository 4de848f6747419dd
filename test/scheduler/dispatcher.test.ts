import assert from 'node:assert/strict';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { FailureClass } from '../../src/domain/failure.ts';
import type { GenerationOutcome, GenerationTask } from '../../src/domain/generation.ts';
import type { NewRecord } from '../../src/domain/record.ts';
import type { ServerReport } from '../../src/domain/server-kind.ts';
import { GpuPool } from '../../src/gpu-pool/gpu-pool.ts';
import { createMetrics } from '../../src/metrics.ts';
import { cancelledFailure, modelFailure } from '../../src/model-server/failures.ts';
import type { CancelSignal } from '../../src/model-server/model-server-client.ts';
import { planLines } from '../../src/planning/plan-lines.ts';
import { answering } from '../../src/scheduler/answering.ts';
import { Dispatcher } from '../../src/scheduler/dispatcher.ts';
import type { Work } from '../../src/scheduler/work.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { candidate, NO_GPUS, report } from '../fakes/pool-fixtures.ts';
import { recordingLog } from '../fakes/recording-log.ts';
import { until } from '../fakes/until.ts';
import { leasedChunk, success, work } from '../fakes/work-fixtures.ts';

interface Call {
  readonly task: GenerationTask;
  readonly endpoint: string;
  readonly signal: CancelSignal;
}

type Respond = (call: Call, index: number) => GenerationOutcome | Promise<GenerationOutcome>;

const MAX_ATTEMPTS = 3;

/** A dispatcher over a pool of servers that are all up; `respond` stands for the generation. */
class World {
  readonly clock = new ManualClock();
  readonly metrics = createMetrics('test');
  readonly calls: Call[] = [];
  readonly records: { work: Work; record: NewRecord; body: ReturnType<typeof JSON.parse> }[] = [];
  readonly surprises: unknown[] = [];
  readonly aloneLines: string[] = [];
  mayStart = true;
  /** Lines whose end throws. */
  readonly spoilt = new Set<number>();
  /** By endpoint, where they are not ['m']. */
  readonly models: Record<string, readonly string[]> = {};
  /** What servers say of themselves beside. */
  said: Partial<ServerReport> = {};
  /** Lines that are said to be in hand and are not here. */
  elsewhere = 0;
  readonly pool: GpuPool;
  readonly dispatcher: Dispatcher;
  respond: Respond = () => success;
  readonly #started = new Set<Work>();
  inFlight = 0;
  maxInFlight = 0;

  constructor({ names = ['a', 'b'], window = 2 }: { names?: readonly string[]; window?: number } = {}) {
    this.pool = new GpuPool({
      candidates: names.map((name) => candidate(name)),
      gpus: NO_GPUS,
      window,
      inspect: async ({ name }) => report(this.models[name] ?? ['m'], this.said),
      tryOut: async () => success,
      clock: this.clock,
      log: recordingLog().log,
    });
    const answers = answering({
      limits: { maxAttempts: MAX_ATTEMPTS, totalTimeoutMs: 1, firstTokenTimeoutMs: 2, stallTimeoutMs: 3 },
      defaultSystemPrompt: 'Be kind.',
      metrics: this.metrics,
      onRecord: (item, record) => {
        if (this.spoilt.has(item.line)) throw new Error(`line ${item.line} cannot end`);
        this.records.push({ work: item, record, body: JSON.parse(record.body) });
      },
    });
    this.dispatcher = new Dispatcher({
      pool: this.pool,
      generate: (task, signal) =>
        this.#generate({ task, endpoint: new URL(task.endpointUrl).hostname, signal }),
      generateAlone: (task, signal) => {
        this.aloneLines.push(task.request.query);
        return this.#generate({ task, endpoint: new URL(task.endpointUrl).hostname, signal });
      },
      markStarted: async (item) => {
        item.isStarted = true;
        this.#started.add(item);
        return this.mayStart;
      },
      apiKey: 'key',
      contextTokens: null,
      stages: {
        // No line of these tests asks for a digest.
        rag: answers,
        generation: answers,
      },
      ragOutageMs: 1,
      plan: planLines,
      metrics: this.metrics,
      clock: this.clock,
      openLines: () =>
        this.elsewhere + this.dispatcher.waiting.generation + this.#started.size - this.records.length,
      onSurprise: (_, error) => this.surprises.push(error),
    });
  }

  async open(): Promise<void> {
    await this.pool.start();
    this.pool.open();
  }

  /** Lets time pass until so many lines have ended. */
  async ended(count: number): Promise<void> {
    await until(`${count} records`, async () => {
      await this.clock.advance(1_000);
      return this.records.length >= count;
    });
  }

  get endpoints(): string[] {
    return this.calls.map((call) => call.endpoint);
  }

  async #generate(call: Call): Promise<GenerationOutcome> {
    this.calls.push(call);
    this.inFlight += 1;
    this.maxInFlight = Math.max(this.maxInFlight, this.inFlight);
    try {
      return await this.respond(call, this.calls.length - 1);
    } finally {
      this.inFlight -= 1;
    }
  }
}

async function setup(t: Test, options: { names?: readonly string[]; window?: number } = {}): Promise<World> {
  const world = new World(options);
  t.teardown(() => world.pool.stop());
  await world.open();
  return world;
}

const refused = modelFailure('hard', 'connection refused', { isRefused: true });
const failure = (failureClass: FailureClass) => modelFailure(failureClass, `it was ${failureClass}`);
const inTurn =
  (...outcomes: readonly GenerationOutcome[]): Respond =>
  (_, index) =>
    outcomes[index] ?? success;

/** Answers that wait until they are let go, oldest first. */
function held() {
  const waiting: ((outcome: GenerationOutcome) => void)[] = [];
  const respond: Respond = () => new Promise((resolve) => waiting.push(resolve));
  const release = (outcome: GenerationOutcome = success) => waiting.shift()?.(outcome);
  return { respond, release, waiting };
}

const turns = async () => {
  for (let count = 0; count < 5; count += 1) await new Promise(setImmediate);
};

t.test('sends a line with everything it asks for, and records the answer', async (t) => {
  const world = await setup(t, { names: ['a'] });
  const item = work(7);
  const passage = { documentId: 'd', chunk: 0, title: null, source: null, text: 'text', distance: 0.5 };
  item.retrieval = { kind: 'success', attempts: 1, passages: [passage], collectionGeneration: 3 };
  world.dispatcher.add(item);
  await world.ended(1);
  t.match(world.calls[0]?.task, {
    endpointUrl: 'http://a',
    apiKey: 'key',
    model: 'm',
    request: { query: 'question 7' },
    systemPrompt: 'Be kind.',
    passages: [passage],
    totalTimeoutMs: 1,
    firstTokenTimeoutMs: 2,
    stallTimeoutMs: 3,
  });
  t.match(world.records, [
    { record: { line: 7, status: 'succeeded' }, body: { generation: { attempts: 1, endpoint: 'a' } } },
  ]);
});

t.test('only tries that the line itself may have spoiled count as attempts', async (t) => {
  const world = await setup(t, { names: ['a', 'b', 'c', 'd', 'e', 'f'] });
  world.respond = inTurn(
    failure('hard'),
    failure('overload'),
    failure('ambiguous'),
    failure('misconfigured'),
    failure('ambiguous'),
  );
  world.dispatcher.add(work(1));
  await world.ended(1);
  t.equal(world.calls.length, 6);
  t.match(world.records, [{ record: { status: 'succeeded' }, body: { generation: { attempts: 3 } } }]);
});

t.test('a line fails after its attempts, with the last failure as the reason', async (t) => {
  const world = await setup(t);
  world.respond = () => failure('ambiguous');
  world.dispatcher.add(work(1));
  await world.ended(1);
  await world.clock.advance(60_000);
  t.equal(world.calls.length, MAX_ATTEMPTS);
  t.match(world.records, [
    {
      record: { status: 'failed', code: 'generation_failed' },
      body: {
        generation: { attempts: MAX_ATTEMPTS },
        error: { code: 'generation_failed', message: 'it was ambiguous', stage: 'generation' },
      },
    },
  ]);
  t.equal(world.records.length, 1);
});

t.test('a line whose model calls a tool is not tried again', async (t) => {
  const world = await setup(t);
  const details = { code: 'empty_answer', isToolCall: true } as const;
  world.respond = () => modelFailure('ambiguous', 'the model called a tool', details);
  world.dispatcher.add(work(1));
  await world.ended(1);
  t.equal(world.calls.length, 1);
  t.match(world.records[0]?.body.error, { code: 'empty_answer', message: 'the model called a tool' });
});

t.test('a line that its only server refuses fails at once', async (t) => {
  const world = await setup(t, { names: ['a'] });
  world.respond = () => failure('request');
  world.dispatcher.add(work(1));
  await world.ended(1);
  t.equal(world.calls.length, 1);
  t.match(world.records, [{ body: { generation: { attempts: 1 }, error: { code: 'generation_rejected' } } }]);
});

t.test('the record of a refused line has what its last server said of it', async (t) => {
  const world = await setup(t, { names: ['a'] });
  const refusal = { status: 422, body: '{"error":{}}' };
  world.respond = () => ({ ...failure('request'), refusal });
  world.dispatcher.add(work(1));
  await world.ended(1);
  t.match(world.records, [
    { record: { response: refusal }, body: { error: { code: 'generation_rejected' } } },
  ]);
});

t.test('a line that nobody takes is tried at three endpoints at most', async (t) => {
  const world = await setup(t, { names: ['a', 'b', 'c', 'd'] });
  world.respond = () => failure('request');
  world.dispatcher.add(work(1));
  await world.ended(1);
  t.equal(world.calls.length, 3);
  t.equal(new Set(world.endpoints).size, 3);
  t.match(world.records, [{ body: { generation: { attempts: 1 }, error: { code: 'generation_rejected' } } }]);
});

t.test('a line that is refused where others are answered is tried nowhere else', async (t) => {
  const world = await setup(t, { names: ['a', 'b'], window: 8 });
  world.respond = async ({ task }) => {
    await new Promise(setImmediate);
    return Number(task.request.query.split(' ')[1]) % 10 === 0 ? failure('request') : success;
  };
  for (let line = 1; line <= 200; line += 1) world.dispatcher.add(work(line));
  await world.ended(200);
  const failed = world.records
    .filter(({ record }) => record.status === 'failed')
    .map(({ work: { line } }) => line);
  t.same(
    failed.sort((a, b) => a - b),
    Array.from({ length: 20 }, (_, index) => (index + 1) * 10),
  );
  t.ok(world.calls.length <= 202, `${world.calls.length} calls`);
  t.ok(world.pool.endpoints.every((endpoint) => endpoint.phase === 'up'));
});

t.test('an endpoint that refuses everything costs no line, and is out', async (t) => {
  for (const failureClass of ['request', 'misconfigured'] as const) {
    const world = await setup(t, { names: ['a', 'b', 'c', 'd'], window: 8 });
    world.respond = async ({ endpoint }) => {
      if (endpoint === 'a') return failure(failureClass);
      await new Promise(setImmediate);
      return success;
    };
    for (let line = 1; line <= 200; line += 1) world.dispatcher.add(work(line));
    await world.ended(200);
    t.ok(
      world.records.every(({ record }) => record.status === 'succeeded'),
      failureClass,
    );
    t.ok(
      world.records.every(({ body }) => body.generation.attempts === 1),
      'nor an attempt',
    );
    t.equal(world.pool.find('a')?.phase, 'down');
  }
});

t.test('endpoints that die under a line are not its fault, until it looks like their murderer', async (t) => {
  const world = await setup(t, { names: ['a', 'b'] });
  world.respond = (_, index) => (index < 10 ? refused : success);
  world.dispatcher.add(work(1));
  await world.ended(1);
  t.match(world.records, [{ record: { status: 'succeeded' }, body: { generation: { attempts: 1 } } }]);

  const killer = await setup(t, { names: ['a', 'b'] });
  killer.respond = () => refused;
  killer.dispatcher.add(work(1));
  await killer.ended(1);
  t.equal(killer.calls.length, 11);
  t.match(killer.records, [
    { record: { code: 'generation_unreachable' }, body: { generation: { attempts: 0 } } },
  ]);
});

t.test('a line waits long for full servers, and not long for servers that cannot serve it', async (t) => {
  const full = await setup(t, { names: ['a'] });
  full.respond = () => failure('overload');
  full.dispatcher.add(work(1));
  await full.ended(1);
  t.equal(full.calls.length, 101);
  t.match(full.records, [
    { record: { code: 'generation_overloaded' }, body: { generation: { attempts: 0 } } },
  ]);

  const misfit = await setup(t, { names: ['a', 'b', 'c', 'd', 'e'] });
  misfit.respond = () => failure('misconfigured');
  misfit.dispatcher.add(work(1));
  await misfit.ended(1);
  t.equal(misfit.calls.length, 4);
  t.equal(new Set(misfit.endpoints).size, 4, 'each of them another');
  t.match(misfit.records, [
    { record: { code: 'generation_misconfigured' }, body: { generation: { attempts: 0 } } },
  ]);
});

t.test('one failure of each kind does not add up to the end of a line', async (t) => {
  const world = await setup(t, { names: ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] });
  world.respond = inTurn(
    ...[1, 2, 3].map(() => failure('misconfigured')),
    ...[1, 2, 3].map(() => failure('hard')),
    ...[1, 2].map(() => failure('ambiguous')),
  );
  world.dispatcher.add(work(1));
  await world.ended(1);
  t.match(world.records, [{ record: { status: 'succeeded' } }]);
});

t.test('lines that waited at an endpoint that died go elsewhere, unblamed and in order', async (t) => {
  const world = await setup(t, { names: ['a', 'b'], window: 1 });
  const { respond, release } = held();
  world.respond = (call, index) =>
    call.endpoint === 'a' && index < 2 ? deadLater(call) : respond(call, index);
  let die = () => {};
  const deadLater = (_: Call) =>
    new Promise<GenerationOutcome>((resolve) => {
      die = () => resolve(refused);
    });
  const items = Array.from({ length: 6 }, (_, index) => work(index + 1));
  for (const item of items) world.dispatcher.add(item);
  await turns();
  const isOnA = world.calls.find((call) => call.endpoint === 'a')?.task.request.query;
  die();
  while (world.records.length < 6) {
    release();
    await turns();
    if (world.inFlight === 0) await world.clock.advance(1_000);
  }
  const blamed = items.filter((item) => item.state.innocentFailures.hard > 0);
  t.same(
    blamed.map((item) => item.parsed.request.query),
    [isOnA],
    'only the one that was sent',
  );
});

t.test('tries again elsewhere, and where it failed only when there is nobody else', async (t) => {
  const world = await setup(t, { names: ['a', 'b', 'c'] });
  world.respond = () => failure('ambiguous');
  world.dispatcher.add(work(1));
  await world.ended(1);
  t.same([...world.endpoints].sort(), ['a', 'b', 'c']);

  const busy = await setup(t, { names: ['a', 'b'] });
  const { respond, release } = held();
  busy.respond = (call, index) => (index === 1 ? failure('ambiguous') : respond(call, index));
  busy.dispatcher.add(work(1));
  busy.dispatcher.add(work(2));
  await until('the second attempt', async () => {
    await busy.clock.advance(1_000);
    return busy.calls.length === 3;
  });
  t.equal(busy.endpoints[2], busy.endpoints[0], 'also where the other one has more to do');
  release();
  release();
  await busy.ended(2);

  const alone = await setup(t, { names: ['a'] });
  alone.respond = inTurn(failure('ambiguous'));
  alone.dispatcher.add(work(1));
  await alone.ended(1);
  t.same(alone.endpoints, ['a', 'a']);
});

t.test(
  'waits before it tries an ambiguous failure again, not before it leaves a dead endpoint',
  async (t) => {
    const world = await setup(t);
    world.respond = inTurn(failure('hard'), failure('ambiguous'));
    world.dispatcher.add(work(1));
    await turns();
    t.equal(world.calls.length, 2);
    t.equal(world.records.length, 0);
    await world.ended(1);
    t.match(world.records, [{ record: { status: 'succeeded' } }]);
  },
);

t.test('keeps the endpoints full and no fuller, and answers every line once', async (t) => {
  const world = await setup(t, { names: ['a', 'b', 'c'], window: 2 });
  const { respond, release } = held();
  world.respond = respond;
  for (let line = 1; line <= 50; line += 1) world.dispatcher.add(work(line));
  await turns();
  t.equal(world.inFlight, 6);
  while (world.records.length < 50) {
    release();
    await turns();
  }
  t.equal(world.maxInFlight, 6);
  t.equal(new Set(world.records.map(({ work: item }) => item.line)).size, 50);
  t.equal(new Set(world.calls.map(({ task }) => task.id)).size, 50, 'every task has its own id');
});

t.test('sends nothing before the pool is opened', async (t) => {
  const world = new World();
  t.teardown(() => world.pool.stop());
  await world.pool.start();
  world.dispatcher.add(work(1));
  await turns();
  t.equal(world.calls.length, 0);
  world.pool.open();
  await world.ended(1);
  t.equal(world.calls.length, 1);
});

t.test('batches take turns', async (t) => {
  const world = await setup(t, { names: ['a'], window: 1 });
  const { respond, release } = held();
  world.respond = respond;
  const [huge, small] = [leasedChunk('huge'), leasedChunk('small')];
  for (let line = 1; line <= 30; line += 1) world.dispatcher.add(work(line, { chunk: huge }));
  world.dispatcher.add(work(1, { chunk: small }));
  const isSmallDone = () => world.records.some(({ work: item }) => item.chunk === small);
  while (!isSmallDone()) {
    release();
    await turns();
  }
  t.ok(world.records.length <= 5, `${world.records.length - 1} lines of the huge batch went before`);
});

t.test('an aborted chunk leaves no record, and the lines of other chunks go on', async (t) => {
  const world = await setup(t, { names: ['a'], window: 2 });
  const { respond, release, waiting } = held();
  world.respond = respond;
  const [cancelled, other] = [leasedChunk('cancelled'), leasedChunk('other')];
  for (let line = 1; line <= 20; line += 1) {
    world.dispatcher.add(work(line, { chunk: cancelled }));
    world.dispatcher.add(work(line, { chunk: other }));
  }
  await turns();
  cancelled.controller.abort();
  world.dispatcher.takeBack((work) => work.chunk.controller.signal.aborted);
  t.ok(
    world.calls.some(({ signal }) => signal.aborted),
    'what runs is told',
  );
  t.ok(
    world.calls.some(({ signal }) => !signal.aborted),
    'but only of that chunk',
  );
  while (world.records.length < 20) {
    release();
    await turns();
  }
  t.equal(waiting.length, 0);
  t.ok(world.records.every(({ work: item }) => item.chunk === other));
});

t.test('a line whose chunk is aborted while it waits for its next attempt is gone', async (t) => {
  const world = await setup(t);
  world.respond = () => failure('ambiguous');
  const item = work(1);
  world.dispatcher.add(item);
  await turns();
  item.chunk.controller.abort();
  world.dispatcher.takeBack((work) => work.chunk.controller.signal.aborted);
  await world.clock.advance(60_000);
  t.equal(world.calls.length, 1);
  t.equal(world.records.length, 0);
});

t.test('a model that nobody serves fails the line, and names those there are', async (t) => {
  const world = await setup(t);
  world.dispatcher.add(work(1, { model: 'none' }));
  await world.ended(1);
  t.match(world.records, [
    { record: { code: 'generation_misconfigured' }, body: { error: { message: /"none".*Served: m\./ } } },
  ]);
  t.equal(world.calls.length, 0);
});

t.test('a model that an absent server may have is waited for', async (t) => {
  const world = await setup(t);
  world.models.a = ['none'];
  for (const _ of [1, 2]) world.pool.find('a')?.contradicted();
  world.dispatcher.add(work(1, { model: 'none' }));
  world.dispatcher.add(work(2));
  await world.ended(1);
  t.same(
    world.records.map(({ work: item }) => item.line),
    [2],
  );
  await world.ended(2);
  t.match(world.records[1], { record: { line: 1, status: 'succeeded' } });
});

t.test('a surprise goes to whoever minds them, and the endpoint goes on', async (t) => {
  const world = await setup(t, { names: ['a'], window: 1 });
  world.respond = (_, index) => (index === 0 ? Promise.reject(new Error('bug')) : success);
  world.dispatcher.add(work(1));
  world.dispatcher.add(work(2));
  await world.ended(1);
  t.match(world.surprises, [{ message: 'bug' }]);
  t.match(world.records, [{ record: { line: 2, status: 'succeeded' } }]);
});

t.test('surprises leave no line behind, however many there are at once', async (t) => {
  const world = await setup(t, { names: ['a'], window: 1 });
  world.respond = () => Promise.reject(new Error('bug'));
  for (let line = 1; line <= 20; line += 1) world.dispatcher.add(work(line));
  for (let count = 0; count < 20; count += 1) await turns();
  t.equal(world.surprises.length, 20);
});

t.test('what a line throws where it ends is a surprise for that line, once, and for no other', async (t) => {
  const world = await setup(t, { names: ['a'] });
  const chunk = leasedChunk('b1', 4);
  const model = 'nobody has it';
  world.spoilt.add(1).add(3);
  world.dispatcher.add(work(1, { chunk }));
  world.dispatcher.add(work(2, { chunk }));
  // Its end comes within the turn of whoever makes room.
  world.dispatcher.add(work(3, { chunk, model }));
  world.dispatcher.add(work(4, { chunk, model }));
  await world.clock.advance(1_000);
  t.same(world.surprises.map(String).sort(), ['Error: line 1 cannot end', 'Error: line 3 cannot end']);
  t.same(world.records.map(({ work: item }) => item.line).sort(), [2, 4]);
});

t.test('a stop does not wait for lines that wait for their next attempt', async (t) => {
  const world = await setup(t);
  world.respond = () => failure('ambiguous');
  world.dispatcher.add(work(1));
  await turns();
  await world.dispatcher.stop(1_000_000);
  t.equal(world.calls.length, 1);
  await world.clock.advance(60_000);
  t.equal(world.calls.length, 1);
});

t.test('a stop lets what runs end, and starts nothing more', async (t) => {
  const world = await setup(t, { names: ['a'], window: 2 });
  const { respond, release } = held();
  world.respond = respond;
  for (let line = 1; line <= 10; line += 1) world.dispatcher.add(work(line));
  await turns();
  let hasStopped = false;
  const stopping = world.dispatcher.stop(60_000).then(() => {
    hasStopped = true;
  });
  release();
  await turns();
  t.equal(hasStopped, false, 'one is still running');
  release();
  await stopping;
  t.equal(world.calls.length, 2, 'not even what waited at the endpoint');
  t.equal(world.records.length, 2);
  world.dispatcher.add(work(11));
  await turns();
  t.equal(world.calls.length, 2);
});

t.test('a stop waits no longer than its grace', async (t) => {
  const world = await setup(t, { names: ['a'] });
  world.respond = () => new Promise(() => {});
  world.dispatcher.add(work(1));
  const stopping = world.dispatcher.stop(5_000);
  await world.clock.advance(5_000);
  await stopping;
  t.equal(world.records.length, 0);
});

t.test('whatever becomes of the calls, every line ends once and within its attempts', async () => {
  const kinds = fc.constantFrom(
    'success',
    'success',
    'success',
    'hard',
    'overload',
    'misconfigured',
    'request',
    'ambiguous',
    'surprise',
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(kinds, { maxLength: 60 }),
      fc.integer({ min: 1, max: 25 }),
      fc.integer({ min: 1, max: 3 }),
      async (script, lines, endpoints) => {
        const world = new World({ names: ['a', 'b', 'c'].slice(0, endpoints), window: 2 });
        world.respond = async (_, index) => {
          await new Promise(setImmediate);
          const kind = script[index] ?? 'success';
          if (kind === 'surprise') throw new Error('bug');
          return kind === 'success' ? success : failure(kind as FailureClass);
        };
        await world.open();
        for (let line = 1; line <= lines; line += 1) world.dispatcher.add(work(line));
        for (let seconds = 0; seconds < 3600; seconds += 1) {
          if (world.records.length + world.surprises.length >= lines && world.inFlight === 0) break;
          await world.clock.advance(1_000);
        }
        await world.dispatcher.stop(1);
        await world.pool.stop();
        assert.equal(world.records.length + world.surprises.length, lines);
        assert.equal(new Set(world.records.map(({ work: item }) => item.line)).size, world.records.length);
        for (const { work: item, record, body } of world.records) {
          assert.ok(item.state.attempts <= MAX_ATTEMPTS);
          assert.equal(body.generation.attempts, item.state.attempts);
          if (record.status === 'succeeded') assert.ok(item.state.attempts >= 1);
        }
        assert.ok(world.maxInFlight <= endpoints * 2);
      },
    ),
    { numRuns: 40 },
  );
});

t.test('no call leaves without its start mark', async (t) => {
  const world = new World();
  await world.open();
  world.mayStart = false;
  world.dispatcher.add(work(1));
  await world.clock.advance(1_000);
  t.same(world.calls, []);
  t.same(world.records, []);
});

t.test('suspects run alone, one at a time, beside all others', async (t) => {
  const world = new World({ window: 8 });
  await world.open();
  const release: (() => void)[] = [];
  let [running, most] = [0, 0];
  world.respond = async () => {
    running += 1;
    most = Math.max(most, running);
    await new Promise<void>((resolve) => release.push(resolve));
    running -= 1;
    return success;
  };
  const chunk = leasedChunk('b1', 5);
  for (const line of [1, 2, 3]) {
    world.dispatcher.add({ ...work(line, { chunk }), isSuspect: true });
  }
  for (const line of [4, 5]) world.dispatcher.add(work(line, { chunk }));
  await until('what may run to run', () => release.length === 3);
  t.equal(most, 3, 'one suspect and the two others');
  t.equal(world.aloneLines.length, 1);
  while (world.records.length < 5) {
    release.shift()?.();
    await world.clock.advance(10);
  }
  t.same(world.aloneLines, ['question 1', 'question 2', 'question 3']);
  t.equal(most, 3);
});

t.test('when a suspect is dropped the next one has its turn', async () => {
  const world = new World({ window: 8 });
  await world.open();
  // As a call does, it ends when it is aborted.
  world.respond = ({ signal }, index) =>
    index > 0
      ? success
      : new Promise((resolve) => signal.addEventListener('abort', () => resolve(cancelledFailure())));
  const dropped = leasedChunk('b1');
  world.dispatcher.add({ ...work(1, { chunk: dropped }), isSuspect: true });
  world.dispatcher.add({ ...work(2), isSuspect: true });
  await until('the first to run', () => world.aloneLines.length === 1);
  dropped.controller.abort();
  world.dispatcher.takeBack((item) => item.chunk.controller.signal.aborted);
  await until('the second to run', () => world.aloneLines.length === 2);
  await world.ended(1);
});

t.test('a suspect that cannot be placed holds up no other', async (t) => {
  const world = new World({ window: 8 });
  await world.open();
  world.pool.servesNowhere = () => false;
  world.dispatcher.add({ ...work(1, { chunk: leasedChunk('b1'), model: 'away' }), isSuspect: true });
  world.dispatcher.add({ ...work(2, { chunk: leasedChunk('b2') }), isSuspect: true });
  await world.ended(1);
  t.match(world.records, [{ work: { line: 2 }, record: { status: 'succeeded' } }]);
});

t.test('a suspect heads off no other line of its batch', async (t) => {
  const world = new World({ window: 8 });
  await world.open();
  world.respond = ({ task }) =>
    task.request.query === 'question 1' ? new Promise(() => {}) : Promise.resolve(success);
  const chunk = leasedChunk('b1', 3);
  for (const line of [1, 2]) world.dispatcher.add({ ...work(line, { chunk }), isSuspect: true });
  world.dispatcher.add(work(3, { chunk }));
  await world.ended(1);
  t.match(world.records, [{ work: { line: 3 } }]);
});

t.test('at the end, lines that take long are asked for again where it takes less', async (t) => {
  const world = await setup(t, { names: ['fast', 'slow'], window: 4 });
  const asked = new Map<string, CancelSignal>();
  world.respond = async ({ endpoint, task, signal }) => {
    const [query, isSlow] = [task.request.query, endpoint === 'slow'];
    if (isSlow) asked.set(query, signal);
    await world.clock.sleep(isSlow && world.records.length > 150 ? 60_000 : 50).catch(() => {});
    return signal.aborted ? cancelledFailure() : success;
  };
  for (let line = 1; line <= 200; line += 1) world.dispatcher.add(work(line));
  await until('all records', async () => {
    await world.clock.advance(50);
    return world.records.length >= 200;
  });
  t.ok(world.clock.monotonicMs() < 1_700_000_000_000 + 60_000, 'nobody waited for the slow one');
  const hedges = (await world.metrics.hedges.get()).values;
  const count = (outcome: string) => hedges.find(({ labels }) => labels.outcome === outcome)?.value;
  t.ok(Number(count('sent')) > 0);
  t.equal(count('won'), count('sent'));
  t.ok(world.calls.length - 200 <= 10, 'at most a twentieth more');
  t.ok(
    [...asked.values()].some((signal) => signal.aborted),
    'the slow call is given up',
  );
  t.ok(world.records.every(({ body }) => body.generation.attempts === 1));
  await world.clock.advance(120_000);
  t.equal(world.records.length, 200, 'and its late answer counts for nothing');
});

t.test('nothing is asked for again while other lines are still to come', async (t) => {
  const world = await setup(t, { names: ['fast', 'slow'], window: 4 });
  world.elsewhere = 1;
  world.respond = async ({ endpoint }) => {
    await world.clock.sleep(endpoint === 'slow' ? 5_000 : 50);
    return success;
  };
  for (let line = 1; line <= 200; line += 1) world.dispatcher.add(work(line));
  await world.ended(200);
  t.equal(world.calls.length, 200);
});

t.test('of two calls of a line the failure of one leaves it to the other', async (t) => {
  for (const first of ['hedge', 'original']) {
    const world = await setup(t, { names: ['fast', 'slow'], window: 2 });
    const last = new Map<string, (outcome: GenerationOutcome) => void>();
    world.respond = ({ endpoint, task }) => {
      if (task.request.query !== 'question 100') return Promise.resolve(success);
      return new Promise((resolve) => last.set(endpoint, resolve));
    };
    for (let line = 1; line <= 100; line += 1) world.dispatcher.add(work(line));
    await until('the hedge', async () => {
      await world.clock.advance(1_000);
      return last.size === 2;
    });
    const [original, hedge] = [...last.values()];
    const [failing, other] = first === 'hedge' ? [hedge, original] : [original, hedge];
    failing?.(failure('ambiguous'));
    await turns();
    t.equal(world.records.length, 99);
    other?.(success);
    await world.ended(100);
    t.match(world.records.at(-1), { record: { status: 'succeeded' }, body: { generation: { attempts: 1 } } });
  }
});

t.test('tries again no more often than the whole pool may', async (t) => {
  const world = await setup(t, { names: ['a', 'b', 'c', 'd', 'e', 'f', 'g'], window: 64 });
  world.respond = (_, index) => (index % 3 === 0 ? failure('ambiguous') : success);
  for (let line = 1; line <= 300; line += 1) world.dispatcher.add(work(line));
  await world.clock.advance(2_000);
  const retries = world.calls.length - 300;
  t.ok(retries <= 20 + 30 + 2, `${retries} of 300 lines were sent again`);
  t.ok(world.dispatcher.waiting.retry > 0);
  await world.ended(300);
});

t.test(
  'lines that are answered with nothing end after two calls, and do not queue for the second',
  async (t) => {
    const lines = 60;
    const world = await setup(t, { window: 4 });
    world.respond = () => modelFailure('ambiguous', 'nothing said', { code: 'empty_answer' });
    const chunk = leasedChunk('b1', lines);
    for (let line = 1; line <= lines; line += 1) world.dispatcher.add(work(line, { chunk }));
    await world.clock.advance(1_000);
    t.equal(world.records.length, lines, 'the backoff of the few that are tried again is over');
    t.ok(world.calls.length > lines && world.calls.length < lines * 1.5, `${world.calls.length} calls`);
    const attempts = new Set(world.records.map(({ body }) => body.generation.attempts));
    t.same([...attempts].sort(), [1, 2]);
    t.ok(world.records.every(({ record }) => record.code === 'empty_answer'));
  },
);

t.test('a line on its way through the pool is counted by what it waits for', async (t) => {
  const world = await setup(t, { names: ['a'], window: 1 });
  const { respond, release } = held();
  world.respond = respond;
  for (let line = 1; line <= 10; line += 1) world.dispatcher.add(work(line));
  await turns();
  t.same(world.dispatcher.waiting, { rag: 0, generation: 7, retry: 0 }, 'one runs, two wait at the gate');
  release(failure('ambiguous'));
  await turns();
  t.match(world.dispatcher.waiting, { retry: 1 });
});

t.test(
  'a line takes no more of a KV cache than the context of its model, to which its prompt is cut',
  async (t) => {
    for (const contextTokens of [null, 2_000]) {
      const world = new World({ names: ['a'], window: 4 });
      t.teardown(() => world.pool.stop());
      world.said = { kvCapacityTokens: 10_000, models: [{ id: 'm', contextTokens }] };
      const { promise: gate, resolve: open } = Promise.withResolvers<void>();
      world.respond = async () => {
        await gate;
        return success;
      };
      await world.open();
      for (const line of [1, 2, 3, 4]) {
        const item = work(line);
        const passage = { documentId: 'd', title: null, source: null, text: 'x'.repeat(6_000), distance: 0 };
        const passages = Array.from({ length: 10 }, (_, chunk) => ({ ...passage, chunk }));
        item.retrieval = { kind: 'success', attempts: 1, collectionGeneration: 1, passages };
        world.dispatcher.add(item);
      }
      open();
      await world.ended(4);
      t.equal(world.maxInFlight, contextTokens === null ? 1 : 4);
    }
  },
);
