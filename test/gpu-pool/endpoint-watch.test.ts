import t, { type Test } from 'tap';
import type { ModelFailure } from '../../src/domain/failure.ts';
import type { GenerationOutcome } from '../../src/domain/generation.ts';
import type { ServerReport } from '../../src/domain/server-kind.ts';
import { Endpoint } from '../../src/gpu-pool/endpoint.ts';
import { EndpointWatch } from '../../src/gpu-pool/endpoint-watch.ts';
import { modelFailure } from '../../src/model-server/failures.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { candidate, report } from '../fakes/pool-fixtures.ts';
import { success } from '../fakes/work-fixtures.ts';

const refused = modelFailure('hard', 'connection refused', { isRefused: true });

type Answer = ServerReport | ModelFailure;
type Look = (signal: AbortSignal) => Answer | Promise<Answer>;

/** Endpoints under watch; `answers` and `trials` say how looks and trials end, by name. */
async function setup(t: Test, answers: Record<string, Look>, isExpected = true) {
  const clock = new ManualClock();
  const surprises: unknown[] = [];
  const tried: string[] = [];
  const trials: Record<string, () => GenerationOutcome | Promise<GenerationOutcome>> = {};
  const endpoints: Endpoint[] = Object.keys(answers).map(
    (name) =>
      new Endpoint(candidate(name, { isExpected }), {
        fixedWindow: 2,
        clock,
        lookNow: (endpoint) => watch.lookNow(endpoint),
        hasSiblings: () => endpoints.length > 1,
        onChange: () => {},
      }),
  );
  const watch: EndpointWatch = new EndpointWatch({
    endpoints,
    inspect: async ({ name }, signal) => answers[name]?.(signal) ?? refused,

    tryOut: async ({ name }) => {
      tried.push(name);
      return trials[name]?.() ?? success;
    },
    clock,
    onSurprise: (_, error) => surprises.push(error),
  });
  t.teardown(() => watch.stop());
  for (const endpoint of endpoints) endpoint.open();
  await watch.start();
  const endpoint = (name: string) => {
    const found = endpoints.find((one) => one.name === name);
    if (!found) throw new Error(`no ${name}`);
    return found;
  };
  return { watch, clock, answers, trials, tried, surprises, endpoint };
}

const dies = (endpoint: Endpoint) => endpoint.run(async () => refused);

t.test('who was out is looked at again, tried, and back', async (t) => {
  const { clock, tried, endpoint } = await setup(t, { a: () => report(['m']) });
  await dies(endpoint('a'));
  t.equal(endpoint('a').phase, 'down');
  await clock.advance(1_000);
  t.same(tried, ['a']);
  t.equal(endpoint('a').phase, 'up');
});

t.test('who fails the trial stays out, and is tried again', async (t) => {
  const { clock, tried, trials, endpoint } = await setup(t, { a: () => report(['m']) });
  trials.a = () => modelFailure('ambiguous', 'the engine is dead');
  await dies(endpoint('a'));
  await clock.advance(10_000);
  t.match(endpoint('a'), { phase: 'down', reason: 'the engine is dead' });
  t.ok(tried.length > 1);
  trials.a = () => success;
  await clock.advance(31_000);
  t.equal(endpoint('a').phase, 'up');
});

t.test('who is back but full is tried every second, until it has room', async (t) => {
  for (const isLoading of [false, true]) {
    const { clock, answers, tried, trials, endpoint } = await setup(t, { a: () => report(['m']) });
    let looks = 0;
    const full = modelFailure('overload', 'loading model');
    answers.a = () => {
      looks += 1;
      return isLoading ? full : report(['m']);
    };
    trials.a = () => full;
    await dies(endpoint('a'));
    await clock.advance(60_000);
    t.match(endpoint('a'), { phase: 'down', reason: 'loading model' });
    t.ok(looks >= 40, `${looks} looks in a minute`);
    t.equal(tried.length, isLoading ? 0 : looks);
    answers.a = () => report(['m']);
    trials.a = () => success;
    await clock.advance(1_500);
    t.equal(endpoint('a').phase, 'up');
  }
});

t.test('a look that takes its time holds up no other', async (t) => {
  const never: Look = (signal) =>
    new Promise((resolve) => signal.addEventListener('abort', () => resolve(refused)));
  const { clock, answers, endpoint } = await setup(t, { a: () => report(['m']), b: () => report(['m']) });
  await dies(endpoint('a'));
  await dies(endpoint('b'));
  answers.a = never;
  await clock.advance(2_000);
  t.equal(endpoint('a').phase, 'down');
  t.equal(endpoint('b').phase, 'up');
});

t.test('who refuses everything is tried at once', async (t) => {
  const { clock, tried, trials, endpoint } = await setup(t, {
    a: () => report(['m']),
    b: () => report(['m']),
  });
  trials.a = () => modelFailure('request', 'bad request');
  for (let count = 0; count < 5; count += 1) {
    await endpoint('a').run(async () => modelFailure('request', 'bad request'));
    await endpoint('b').run(async () => modelFailure('request', 'bad request'));
  }
  await clock.advance(500);
  t.same([...tried].sort(), ['a', 'b']);
  t.match(endpoint('a'), { phase: 'down', reason: 'it refuses every request: bad request' });
  t.match(endpoint('b'), { phase: 'up', isDoubtful: false }, 'it is the lines');
});

t.test('a server without a model is not tried but waited for', async (t) => {
  const { clock, answers, tried, endpoint } = await setup(t, { a: () => report(['m']) });
  await dies(endpoint('a'));
  answers.a = () => report([]);
  await clock.advance(20_000);
  t.equal(endpoint('a').phase, 'trial');
  t.same(tried, []);
  answers.a = () => report(['m']);
  await clock.advance(6_000);
  t.equal(endpoint('a').phase, 'up');
});

t.test(
  'on a port that nobody named, who is away for a minute is gone; a named one is waited for',
  async (t) => {
    for (const [isExpected, phase] of [
      [false, 'absent'],
      [true, 'down'],
    ] as const) {
      const { clock, answers, endpoint } = await setup(t, { a: () => report(['m']) }, isExpected);
      answers.a = () => refused;
      await clock.advance(50_000);
      t.equal(endpoint('a').phase, 'down');
      await clock.advance(30_000);
      t.equal(endpoint('a').phase, phase);
      answers.a = () => report(['m']);
      await clock.advance(10_000);
      t.equal(endpoint('a').phase, 'up', 'and found again in either case');
    }
  },
);

t.test('a surprise in a look is told, and looking goes on', async (t) => {
  const { clock, answers, surprises, endpoint } = await setup(t, { a: () => report(['m']) });
  answers.a = () => Promise.reject(new Error('bug'));
  await clock.advance(6_000);
  t.match(surprises, [{ message: 'bug' }]);
  answers.a = () => report(['new']);
  await clock.advance(6_000);
  t.same(endpoint('a').models.ids, ['new']);
});
