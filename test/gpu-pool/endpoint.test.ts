import assert from 'node:assert/strict';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { FailureClass } from '../../src/domain/failure.ts';
import type { GenerationOutcome } from '../../src/domain/generation.ts';
import { Endpoint, type NotSent } from '../../src/gpu-pool/endpoint.ts';
import { modelFailure } from '../../src/model-server/failures.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { success } from '../fakes/work-fixtures.ts';

/** An endpoint that is up and open, and requests that a test ends one by one, oldest first. */
class World {
  readonly clock = new ManualClock();
  readonly endpoint: Endpoint;
  changes = 0;
  readonly #sent: ((outcome: GenerationOutcome) => void)[] = [];
  sent = 0;

  constructor(window: number) {
    this.endpoint = new Endpoint(
      { name: 'gpu-0', url: 'http://gpu.test', model: null, isExpected: true },
      {
        window,
        clock: this.clock,
        onChange: () => {
          this.changes += 1;
        },
      },
    );
    this.endpoint.open();
    this.endpoint.markUp(['m']);
  }

  /** Sends a request through the gate; it may wait there. */
  run(): Promise<GenerationOutcome | NotSent> {
    return this.endpoint.run(
      () =>
        new Promise((resolve) => {
          this.sent += 1;
          this.#sent.push(resolve);
        }),
    );
  }

  /** Ends the oldest request in flight. */
  end(outcome: GenerationOutcome): void {
    const resolve = this.#sent.shift();
    if (!resolve) throw new Error('nothing is in flight');
    resolve(outcome);
  }

  get inFlight(): number {
    return this.#sent.length;
  }

  async ends(outcome: GenerationOutcome): Promise<GenerationOutcome | NotSent> {
    const running = this.run();
    this.end(outcome);
    return running;
  }
}

function setup(t: Test, window = 4): World {
  const world = new World(window);
  t.teardown(() => world.endpoint.stop());
  return world;
}

const failure = (failureClass: FailureClass, retryAfterMs: number | null = null) =>
  modelFailure(failureClass, `it was ${failureClass}`, { retryAfterMs });

t.test('sends no more than its window, and the rest in order as answers come', async (t) => {
  const world = setup(t, 2);
  const order: number[] = [];
  const runs = [1, 2, 3, 4].map((number) => world.run().then(() => order.push(number)));
  t.equal(world.sent, 2);
  t.equal(world.endpoint.inFlight, 2);
  world.end(success);
  await runs[0];
  t.equal(world.sent, 3);
  for (const _ of [2, 3]) world.end(success);
  await Promise.all(runs.slice(0, 3));
  world.end(success);
  await Promise.all(runs);
  t.same(order, [1, 2, 3, 4]);
  t.equal(world.endpoint.inFlight, 0);
});

t.test('has room for its window and a few that wait', async (t) => {
  for (const [window, room] of [
    [1, 3],
    [4, 6],
    [16, 18],
    [64, 72],
  ] as const) {
    const world = setup(t, window);
    const runs: Promise<unknown>[] = [];
    while (world.endpoint.hasRoom) runs.push(world.run());
    t.equal(runs.length, room, `window ${window}`);
    t.equal(world.endpoint.load, room / window);
    for (const _ of runs) {
      world.end(success);
      await new Promise(setImmediate);
    }
    await Promise.all(runs);
    t.equal(world.endpoint.load, 0);
  }
});

t.test('a closed gate sends nothing until it is opened', async (t) => {
  const endpoint = new Endpoint(
    { name: 'gpu-0', url: 'http://gpu.test', model: null, isExpected: true },
    { window: 2, clock: new ManualClock(), onChange: () => {} },
  );
  t.teardown(() => endpoint.stop());
  endpoint.markUp(['m']);
  t.notOk(endpoint.hasRoom);
  let isSent = false;
  const running = endpoint.run(async () => {
    isSent = true;
    return success;
  });
  t.notOk(isSent);
  endpoint.open();
  await running;
  t.ok(isSent);
});

t.test('serves what it lists, and by default what is configured or comes first', async (t) => {
  const { endpoint } = setup(t);
  endpoint.markUp(['first', 'second']);
  t.equal(endpoint.defaultModel, 'first');
  t.ok(endpoint.serves(null) && endpoint.serves('second'));
  t.notOk(endpoint.serves('third'));
  endpoint.markUp([]);
  t.notOk(endpoint.serves(null), 'a server without models');
  endpoint.markDown('gone', 500);
  t.notOk(endpoint.serves(null) || endpoint.serves('first'));
  t.equal(endpoint.defaultModel, null);

  const configured = new Endpoint(
    { name: 'gpu-1', url: 'http://gpu.test', model: 'mine', isExpected: true },
    { window: 1, clock: new ManualClock(), onChange: () => {} },
  );
  configured.markUp(['first', 'mine']);
  t.equal(configured.defaultModel, 'mine');
});

t.test('is out at its first dead connection; what waits is handed back unsent', async (t) => {
  const world = setup(t, 1);
  const runs = [world.run(), world.run(), world.run()];
  world.end(failure('hard'));
  const [first, ...waiting] = await Promise.all(runs);
  t.match(first, { class: 'hard' });
  t.same(waiting, [{ kind: 'not_sent' }, { kind: 'not_sent' }]);
  t.same(await world.run(), { kind: 'not_sent' }, 'and so is what comes too late');
  t.equal(world.sent, 1);
  t.match(world.endpoint.state, {
    phase: 'down',
    reason: 'it was hard',
    probeAtMs: world.clock.monotonicMs() + 500,
  });
});

t.test('the deaths of one moment count as one', async (t) => {
  const world = setup(t, 4);
  const runs = [1, 2, 3, 4].map(() => world.run());
  for (const _ of runs) world.end(failure('hard'));
  await Promise.all(runs);
  t.match(world.endpoint.state, { probeAtMs: world.clock.monotonicMs() + 500 });
});

t.test('is probed later each time it dies without having answered, up to a limit', async (t) => {
  const world = setup(t);
  const waits: number[] = [];
  const die = async () => {
    world.endpoint.markUp(['m']);
    await world.ends(failure('hard'));
    const { state } = world.endpoint;
    if (state.phase !== 'down') throw new Error('it lives');
    waits.push(state.probeAtMs - world.clock.monotonicMs());
  };
  for (let deaths = 0; deaths < 40; deaths += 1) await die();
  t.same(waits.slice(0, 6), [500, 1000, 2000, 4000, 5000, 5000]);
  t.equal(waits.at(-1), 5000);
  world.endpoint.markUp(['m']);
  await world.ends(success);
  await die();
  t.equal(waits.at(-1), 500, 'an answer in between makes it a first death');
});

t.test('a full server pauses as long as it asks for, and stays up', async (t) => {
  const world = setup(t, 1);
  const [overloaded, waiting] = [world.run(), world.run()];
  world.end(failure('overload', 7_000));
  await overloaded;
  t.same(await waiting, { kind: 'not_sent' }, 'what waits may run elsewhere');
  t.equal(world.endpoint.state.phase, 'up');
  t.ok(world.endpoint.isPaused);
  await world.clock.advance(6_999);
  t.notOk(world.endpoint.hasRoom);
  t.equal(world.sent, 1);
  const changesBefore = world.changes;
  await world.clock.advance(1);
  t.ok(world.endpoint.hasRoom);
  t.ok(world.changes > changesBefore, 'says that it has room again');
  await world.ends(success);
});

t.test('without a Retry-After it pauses for a second', async (t) => {
  const world = setup(t);
  await world.ends(failure('overload'));
  await world.clock.advance(999);
  t.notOk(world.endpoint.hasRoom);
  await world.clock.advance(1);
  t.ok(world.endpoint.hasRoom);
});

t.test('an endpoint that dies in its pause forgets the pause', async (t) => {
  const world = setup(t, 2);
  const [overloaded, running, waiting] = [world.run(), world.run(), world.run()];
  world.end(failure('overload', 300_000));
  await overloaded;
  world.end(failure('hard'));
  await running;
  t.same(await waiting, { kind: 'not_sent' });
  t.equal(world.sent, 2);
  world.endpoint.markUp(['m']);
  t.ok(world.endpoint.hasRoom, 'a server that came back is not the one that asked for patience');
  t.equal(world.clock.sleepers, 0);
});

t.test('five ambiguous failures in a row take it out, four and an answer do not', async (t) => {
  const world = setup(t);
  for (let round = 0; round < 3; round += 1) {
    for (let count = 0; count < 4; count += 1) await world.ends(failure('ambiguous'));
    await world.ends(success);
  }
  for (let count = 0; count < 4; count += 1) await world.ends(failure('ambiguous'));
  t.equal(world.endpoint.state.phase, 'up');
  await world.ends(failure('ambiguous'));
  t.match(world.endpoint.state, { phase: 'down', reason: 'it was ambiguous' });
});

t.test('a misconfigured server is out for half a minute, with its reason', async (t) => {
  const world = setup(t);
  await world.ends(failure('misconfigured'));
  t.match(world.endpoint.state, {
    phase: 'down',
    reason: 'it was misconfigured',
    probeAtMs: world.clock.monotonicMs() + 30_000,
  });
});

t.test('one that has answered may refuse twice in a row before it counts as misconfigured', async (t) => {
  const world = setup(t);
  for (let round = 0; round < 3; round += 1) {
    await world.ends(success);
    for (let count = 0; count < 2; count += 1) await world.ends(failure('misconfigured'));
    t.equal(world.endpoint.state.phase, 'up');
  }
  await world.ends(failure('misconfigured'));
  t.equal(world.endpoint.state.phase, 'down');
  world.endpoint.markUp(['m']);
  await world.ends(failure('misconfigured'));
  t.equal(world.endpoint.state.phase, 'down', 'what it answered before does not count');
});

t.test('neither the lines that a server refuses nor our own cancellations count against it', async (t) => {
  const world = setup(t);
  for (let count = 0; count < 20; count += 1) {
    await world.ends(failure(count % 2 === 0 ? 'request' : 'cancelled'));
  }
  t.equal(world.endpoint.state.phase, 'up');
  t.ok(world.endpoint.hasRoom);
});

t.test('stop() leaves no timer, sends nothing more, and hands back what waits', async (t) => {
  const world = setup(t, 1);
  const [running, waiting] = [world.run(), world.run()];
  world.endpoint.stop();
  t.same(await waiting, { kind: 'not_sent' });
  world.end(failure('overload'));
  await running;
  t.equal(world.sent, 1);
  t.equal(world.clock.sleepers, 0);

  const paused = setup(t);
  const last = paused.run();
  const overloaded = paused.run();
  paused.end(failure('overload'));
  await last;
  t.equal(paused.clock.sleepers, 1);
  paused.endpoint.stop();
  paused.endpoint.stop();
  t.equal(paused.clock.sleepers, 0);
  paused.end(failure('hard'));
  await overloaded;
  t.notOk(paused.endpoint.hasRoom);
});

t.test('a request that throws is the caller’s surprise, and gives its place back', async (t) => {
  const world = setup(t, 1);
  const { endpoint } = world;
  const changesBefore = world.changes;
  await t.rejects(
    endpoint.run(() => Promise.reject(new Error('bug'))),
    { message: 'bug' },
  );
  t.equal(endpoint.load, 0);
  t.ok(world.changes > changesBefore, 'and says so');
  t.equal(await endpoint.run(async () => success), success);
});

t.test(
  'whatever happens, nothing is sent over the window, while down or paused, and everything ends',
  async () => {
    const steps = fc.array(
      fc.oneof(
        { weight: 4, arbitrary: fc.constant('run') },
        { weight: 3, arbitrary: fc.constant('success') },
        fc.constantFrom('hard', 'overload', 'misconfigured', 'request', 'ambiguous', 'cancelled'),
        fc.constantFrom('wait', 'up', 'down'),
      ),
      { maxLength: 60 },
    );
    await fc.assert(
      fc.asyncProperty(steps, fc.integer({ min: 1, max: 4 }), async (sequence, window) => {
        const world = new World(window);
        const runs: Promise<unknown>[] = [];
        for (const step of sequence) {
          const { phase } = world.endpoint.state;
          const sentBefore = world.sent;
          if (step === 'run') runs.push(world.run());
          else if (step === 'wait') await world.clock.advance(700);
          else if (step === 'up') world.endpoint.markUp(['m']);
          else if (step === 'down') world.endpoint.markDown('gone', 500);
          else if (world.inFlight > 0)
            world.end(step === 'success' ? success : failure(step as FailureClass));
          await new Promise(setImmediate);
          assert.ok(world.inFlight <= window);
          assert.equal(world.endpoint.inFlight, world.inFlight);
          if (phase !== 'up' && step !== 'up') assert.equal(world.sent, sentBefore, `sent while ${phase}`);
        }
        world.endpoint.markDown('the end', 500);
        while (world.inFlight > 0) world.end(success);
        await Promise.all(runs);
        world.endpoint.stop();
        assert.equal(world.clock.sleepers, 0);
      }),
    );
  },
);
