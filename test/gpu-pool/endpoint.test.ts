import assert from 'node:assert/strict';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { FailureClass } from '../../src/domain/failure.ts';
import type { GenerationOutcome } from '../../src/domain/generation.ts';
import type { Ended } from '../../src/gpu-pool/ended.ts';
import { Endpoint } from '../../src/gpu-pool/endpoint.ts';
import type { NotSent } from '../../src/gpu-pool/gate.ts';
import { modelFailure } from '../../src/model-server/failures.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { candidate, report } from '../fakes/pool-fixtures.ts';
import { success } from '../fakes/work-fixtures.ts';

/** An endpoint that is up and open, and requests that a test ends one by one, oldest first. */
class World {
  readonly clock = new ManualClock();
  readonly endpoint: Endpoint;
  changes = 0;
  look = async () => {};
  hasSiblings = true;
  readonly #sent: ((outcome: GenerationOutcome) => void)[] = [];
  sent = 0;

  constructor(window: number | null, first = report(['m'])) {
    this.endpoint = new Endpoint(candidate('gpu-0'), {
      fixedWindow: window,
      clock: this.clock,
      lookNow: () => this.look(),
      hasSiblings: () => this.hasSiblings,
      onChange: () => {
        this.changes += 1;
      },
    });
    this.endpoint.open();
    this.endpoint.saw(first);
  }

  /** Sends a request through the gate; it may wait there. */
  run(tokens = 0): Promise<Ended | NotSent> {
    return this.endpoint.run(
      () =>
        new Promise((resolve) => {
          this.sent += 1;
          this.#sent.push(resolve);
        }),
      { tokens, stage: 'generation' },
    );
  }

  /** Ends the oldest request in flight. */
  end(outcome: GenerationOutcome): void {
    const resolve = this.#sent.shift();
    if (!resolve) throw new Error('nothing is in flight');
    resolve(outcome);
  }

  /** It is out, whatever runs. */
  takeOut(): void {
    this.endpoint.contradicted();
    this.endpoint.contradicted();
  }

  /** It can be looked at again, and its trial goes well. */
  comeBack(): void {
    this.endpoint.saw(report(['m']));
    this.endpoint.tried(success);
  }

  get inFlight(): number {
    return this.#sent.length;
  }

  async ends(outcome: GenerationOutcome): Promise<Ended | NotSent> {
    const running = this.run();
    this.end(outcome);
    return running;
  }
}

function setup(t: Test, window: number | null = 4, first = report(['m'])): World {
  const world = new World(window, first);
  t.teardown(() => world.endpoint.stop());
  return world;
}

const failure = (failureClass: FailureClass, retryAfterMs: number | null = null) =>
  modelFailure(failureClass, `it was ${failureClass}`, { retryAfterMs });

t.test('where digests and answers share an endpoint, answers tell what its window is worth', async (t) => {
  for (const isShared of [true, false]) {
    const endpoint = new Endpoint(candidate('a', isShared ? {} : { roles: new Set(['rag']) }), {
      fixedWindow: null,
      clock: new ManualClock(),
      lookNow: async () => {},
      hasSiblings: () => false,
      onChange: () => {},
    });
    endpoint.saw(report(['m']));
    endpoint.open();
    const before = endpoint.window;
    for (let round = 0; round < 20; round += 1) {
      const digest = () => endpoint.run(async () => success, { tokens: 0, stage: 'rag' });
      await Promise.all(Array.from({ length: endpoint.window }, digest));
    }
    t.equal(endpoint.window > before, !isShared);
  }
});

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
    while (world.endpoint.hasRoom()) runs.push(world.run());
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
  const endpoint = new Endpoint(candidate('gpu-0'), {
    fixedWindow: 2,
    clock: new ManualClock(),
    lookNow: async () => {},
    hasSiblings: () => true,
    onChange: () => {},
  });
  t.teardown(() => endpoint.stop());
  endpoint.saw(report(['m']));
  t.notOk(endpoint.hasRoom());
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
  endpoint.saw(report(['first', 'second']));
  t.equal(endpoint.models.default, 'first');
  t.ok(endpoint.serves('generation', null) && endpoint.serves('generation', 'second'));
  t.notOk(endpoint.serves('generation', 'third'));
  endpoint.saw(report([]));
  t.notOk(endpoint.serves('generation', null), 'a server without models');
  endpoint.missed(failure('hard'));
  t.notOk(endpoint.serves('generation', null) || endpoint.serves('generation', 'first'));

  const configured = new Endpoint(candidate('gpu-1', { model: 'mine' }), {
    fixedWindow: 1,
    clock: new ManualClock(),
    lookNow: async () => {},
    hasSiblings: () => true,
    onChange: () => {},
  });
  configured.saw(report(['first', 'mine']));
  t.equal(configured.models.default, 'mine');
});

const refused = modelFailure('hard', 'connection refused', { isRefused: true });

t.test('is out at its first refused connection; what waits is handed back unsent', async (t) => {
  const world = setup(t, 1);
  const runs = [world.run(), world.run(), world.run()];
  world.end(refused);
  const [first, ...waiting] = await Promise.all(runs);
  t.match(first, { outcome: { class: 'hard' } });
  t.same(waiting, [{ kind: 'not_sent' }, { kind: 'not_sent' }]);
  t.same(await world.run(), { kind: 'not_sent' }, 'and so is what comes too late');
  t.equal(world.sent, 1);
  t.match(world.endpoint, {
    phase: 'down',
    reason: 'connection refused',
    lookAtMs: world.clock.monotonicMs() + 500,
  });
});

t.test('comes back over a trial, with half its window', async (t) => {
  const world = setup(t, null, report(['m'], { maxRunning: 16 }));
  t.equal(world.endpoint.window, 16);
  world.takeOut();
  world.endpoint.missed(refused);
  t.equal(world.endpoint.phase, 'down');
  world.endpoint.saw(report(['m'], { maxRunning: 16 }));
  t.match(world.endpoint, { phase: 'trial', breakerState: 'half_open' });
  t.notOk(world.endpoint.hasRoom(), 'no line is sent to find out');
  world.endpoint.tried(failure('ambiguous'));
  t.equal(world.endpoint.phase, 'down');
  world.endpoint.saw(report(['m'], { maxRunning: 16 }));
  world.endpoint.tried(modelFailure('ambiguous', 'nothing said', { code: 'empty_answer' }));
  t.match(world.endpoint, { phase: 'up', window: 8, reason: null }, 'an answer without a word is one');
});

t.test('what was in flight when it went is not the fault of its line', async (t) => {
  const world = setup(t, 8);
  const runs = Array.from({ length: 7 }, () => world.run());
  for (const _ of runs) world.end(failure('ambiguous'));
  const innocent = await Promise.all(
    (await Promise.all(runs)).map((ended) => ended.kind === 'ended' && ended.isInnocent),
  );
  t.same(innocent, [false, false, false, false, false, true, true]);
});

t.test('a broken answer was the death of the server if nobody is there any more', async (t) => {
  const world = setup(t, 8);
  const broken = { ...failure('ambiguous'), isBroken: true } as const;
  const isInnocent = async (ended: Ended | NotSent) => ended.kind === 'ended' && ended.isInnocent;
  t.equal(await isInnocent(await world.ends(broken)), false, 'it is still there');
  t.equal(world.endpoint.phase, 'up');
  const [first, ...others] = [world.run(), world.run(), world.run()];
  world.look = async () => world.endpoint.missed(refused);
  world.end(broken);
  t.equal(await isInnocent(await first), true, 'although others are in flight');
  t.equal(world.endpoint.phase, 'down');
  for (const _ of others) world.end(broken);
  await Promise.all(others);
});

t.test('a full server pauses as long as it asks for, and stays up', async (t) => {
  const world = setup(t, 1);
  const [overloaded, waiting] = [world.run(), world.run()];
  world.end(failure('overload', 7_000));
  await overloaded;
  t.same(await waiting, { kind: 'not_sent' }, 'what waits may run elsewhere');
  t.equal(world.endpoint.phase, 'up');
  t.match(world.endpoint, { isPaused: true, reason: 'full, and asked for patience' });
  await world.clock.advance(6_999);
  t.notOk(world.endpoint.hasRoom());
  t.equal(world.sent, 1);
  const changesBefore = world.changes;
  await world.clock.advance(1);
  t.ok(world.endpoint.hasRoom());
  t.ok(world.changes > changesBefore, 'says that it has room again');
  await world.ends(success);
});

t.test('after an overload it gets one at a time until one is answered', async (t) => {
  const world = setup(t, 4);
  const runs = Array.from({ length: 4 }, () => world.run());
  for (const _ of runs) world.end(failure('overload'));
  await Promise.all(runs);
  await world.clock.advance(1_000);
  const next = [world.run(), world.run(), world.run()];
  t.equal(world.inFlight, 1);
  world.end(success);
  await next[0];
  t.equal(world.inFlight, 2, 'and then all');
  for (const _ of [1, 2]) world.end(success);
  await Promise.all(next);
});

t.test('an overload makes the window smaller', async (t) => {
  const world = setup(t, null, report(['m'], { maxRunning: 10 }));
  const runs = Array.from({ length: 10 }, () => world.run());
  for (const _ of runs) world.end(failure('overload'));
  await Promise.all(runs);
  t.equal(world.endpoint.window, 7);
});

t.test('without a Retry-After it pauses for a second', async (t) => {
  const world = setup(t);
  await world.ends(failure('overload'));
  await world.clock.advance(999);
  t.notOk(world.endpoint.hasRoom());
  await world.clock.advance(1);
  t.ok(world.endpoint.hasRoom());
});

t.test('an endpoint that dies in its pause forgets the pause', async (t) => {
  const world = setup(t, 2);
  const [overloaded, running, waiting] = [world.run(), world.run(), world.run()];
  world.end(failure('overload', 300_000));
  await overloaded;
  world.end(refused);
  await running;
  t.same(await waiting, { kind: 'not_sent' });
  t.equal(world.sent, 2);
  world.comeBack();
  t.ok(world.endpoint.hasRoom(), 'a server that came back is not the one that asked for patience');
  t.equal(world.clock.sleepers, 0);
});

t.test('answers that say nothing are not held against it', async (t) => {
  const world = setup(t);
  for (let count = 0; count < 20; count += 1) {
    await world.ends(modelFailure('ambiguous', 'nothing', { code: 'empty_answer' }));
  }
  t.equal(world.endpoint.phase, 'up');
});

t.test('a misconfigured server is out for half a minute, with its reason', async (t) => {
  const world = setup(t);
  await world.ends(failure('misconfigured'));
  t.match(world.endpoint, {
    phase: 'down',
    reason: 'it was misconfigured',
    lookAtMs: world.clock.monotonicMs() + 30_000,
  });
});

t.test('one that has answered may refuse twice in a row before it counts as misconfigured', async (t) => {
  const world = setup(t);
  for (let round = 0; round < 3; round += 1) {
    await world.ends(success);
    for (let count = 0; count < 2; count += 1) await world.ends(failure('misconfigured'));
    t.equal(world.endpoint.phase, 'up');
  }
  await world.ends(failure('misconfigured'));
  t.equal(world.endpoint.phase, 'down');
  world.comeBack();
  await world.ends(failure('misconfigured'));
  t.equal(world.endpoint.phase, 'down', 'what it answered before does not count');
});

t.test(
  'a refused line is at fault when the next one is answered, and nobody knows when none is',
  async (t) => {
    const world = setup(t);
    const [bad, good] = [world.run(), world.run()];
    world.end(failure('request'));
    const ended = await bad;
    world.end(success);
    await good;
    t.equal(ended.kind === 'ended' && (await ended.verdict), 'final');

    const last = await world.ends(failure('request'));
    t.equal(last.kind === 'ended' && (await last.verdict), 'elsewhere', 'nothing else was in flight');
    t.equal(world.endpoint.phase, 'up');
  },
);

t.test('refusing one line after the other it gets no more of them until it was tried', async (t) => {
  const world = setup(t);
  for (let count = 0; count < 5; count += 1) await world.ends(failure('request'));
  t.match(world.endpoint, { phase: 'up', isDoubtful: true });
  t.notOk(world.endpoint.hasRoom());
  t.ok(world.endpoint.serves('generation', 'm'), 'it may well be the lines');
  world.endpoint.tried(success);
  t.ok(world.endpoint.hasRoom());
  for (let count = 0; count < 10; count += 1) await world.ends(failure('request'));
  world.endpoint.tried(failure('request'));
  t.match(world.endpoint, { phase: 'down', reason: 'it refuses every request: it was request' });
});

t.test('one that is alone is not out for refusing a trial', async (t) => {
  const world = setup(t);
  world.hasSiblings = false;
  for (let count = 0; count < 5; count += 1) await world.ends(failure('request'));
  world.endpoint.tried(failure('request'));
  t.match(world.endpoint, { phase: 'up', isDoubtful: false });
  await world.ends(refused);
  world.endpoint.saw(report(['m']));
  world.endpoint.tried(failure('request'));
  t.equal(world.endpoint.phase, 'up', 'it answers, whatever it thinks of the question');
});

t.test('one that refuses what others answer is out', async (t) => {
  const world = setup(t);
  world.takeOut();
  t.match(world.endpoint, { phase: 'down', reason: 'it refuses lines that other endpoints answer' });
});

t.test('our own cancellations count for nothing', async (t) => {
  const world = setup(t);
  for (let count = 0; count < 20; count += 1) await world.ends(failure('cancelled'));
  t.equal(world.endpoint.phase, 'up');
  t.ok(world.endpoint.hasRoom());
});

t.test('a look that fails takes it out only while nothing runs, and only if nobody is there', async (t) => {
  const world = setup(t);
  world.endpoint.missed(failure('ambiguous'));
  t.equal(world.endpoint.phase, 'up', 'slow to answer is not dead');
  const running = world.run();
  world.endpoint.missed(refused);
  t.equal(world.endpoint.phase, 'up', 'what runs there knows better');
  world.end(success);
  await running;
  world.endpoint.missed(refused);
  t.equal(world.endpoint.phase, 'down');
});

t.test('takes no more than the KV cache holds, but one request always', async (t) => {
  const world = setup(t, 8);
  world.endpoint.saw(report(['m'], { kvCapacityTokens: 1_000 }));
  t.ok(world.endpoint.hasRoom({ tokens: 5_000, stage: 'generation' }));
  const first = world.run(500);
  t.ok(world.endpoint.hasRoom({ tokens: 400, stage: 'generation' }));
  t.notOk(world.endpoint.hasRoom({ tokens: 401, stage: 'generation' }), 'a tenth is kept back');
  t.notOk(world.endpoint.isIdle({ tokens: 401, stage: 'generation' }));
  world.end(success);
  await first;
  t.ok(world.endpoint.hasRoom({ tokens: 900, stage: 'generation' }));
});

t.test('drained by hand it ends what runs and takes nothing until it is resumed', async (t) => {
  const world = setup(t, 1);
  const [running, waiting] = [world.run(), world.run()];
  world.endpoint.setDrained(true);
  t.same(await waiting, { kind: 'not_sent' });
  t.match(world.endpoint, { phase: 'up', reason: 'drained by hand', inFlight: 1 });
  t.notOk(world.endpoint.hasRoom() || world.endpoint.serves('generation', 'm'));
  world.end(success);
  t.match(await running, { outcome: { kind: 'success' } });
  world.endpoint.setDrained(false);
  t.ok(world.endpoint.hasRoom() && world.endpoint.serves('generation', 'm'));
});

t.test(
  'one that is gone for good is a port where nobody is, and its successor is a new server',
  async (t) => {
    const world = setup(t, 1);
    world.takeOut();
    world.endpoint.forget();
    t.match(world.endpoint, { phase: 'absent', models: { ids: [] } });
    world.endpoint.saw(report(['other']));
    t.match(world.endpoint, { phase: 'up', models: { ids: ['other'] } });
  },
);

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
  t.notOk(paused.endpoint.hasRoom());
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
  t.match(await endpoint.run(async () => success), { outcome: success });
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
          const { phase } = world.endpoint;
          const sentBefore = world.sent;
          if (step === 'run') runs.push(world.run());
          else if (step === 'wait') await world.clock.advance(700);
          else if (step === 'up') world.comeBack();
          else if (step === 'down') world.takeOut();
          else if (world.inFlight > 0)
            world.end(step === 'success' ? success : failure(step as FailureClass));
          await new Promise(setImmediate);
          assert.ok(world.inFlight <= window);
          assert.equal(world.endpoint.inFlight, world.inFlight);
          if (phase !== 'up' && step !== 'up') assert.equal(world.sent, sentBefore, `sent while ${phase}`);
        }
        world.takeOut();
        while (world.inFlight > 0) world.end(success);
        await Promise.all(runs);
        world.endpoint.stop();
        assert.equal(world.clock.sleepers, 0);
      }),
    );
  },
);
