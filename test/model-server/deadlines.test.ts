import t, { type Test } from 'tap';
import { Deadlines, DeadlineWatch } from '../../src/model-server/deadlines.ts';
import { ManualClock } from '../fakes/manual-clock.ts';

const LIMITS = { totalTimeoutMs: 10_000, firstTokenTimeoutMs: 3_000, stallTimeoutMs: 1_000 };

function setup(t: Test, limits = LIMITS) {
  const clock = new ManualClock();
  const deadlines = new Deadlines(clock);
  const start = (changes = {}) => {
    const watch = new DeadlineWatch({ ...limits, ...changes }, clock);
    let passed: string | undefined;
    const unwatch = deadlines.watch(watch, (name) => {
      passed = name;
    });
    t.teardown(unwatch);
    return { watch, unwatch, passed: () => passed };
  };
  return { clock, deadlines, start, ...start() };
}

t.test('says when the first token does not come', async (t) => {
  const { clock, passed } = setup(t);
  await clock.advance(2_999);
  t.equal(passed(), undefined);
  await clock.advance(1);
  t.equal(passed(), 'first_token');
});

t.test('allows any number of pauses shorter than the stall, then says that it stalled', async (t) => {
  const { clock, watch, passed } = setup(t);
  for (let chunk = 0; chunk < 8; chunk += 1) {
    watch.progress();
    await clock.advance(900);
  }
  t.equal(passed(), undefined);
  await clock.advance(100);
  t.equal(passed(), 'stall');
});

t.test('notices silence long before the first token would have been due', async (t) => {
  const { clock, watch, passed } = setup(t);
  await clock.advance(1_500);
  watch.progress();
  await clock.advance(999);
  t.equal(passed(), undefined);
  await clock.advance(1);
  t.equal(passed(), 'stall');
});

t.test('ends what goes on for ever', async (t) => {
  const { clock, watch, passed } = setup(t);
  for (let chunk = 0; chunk < 20; chunk += 1) {
    watch.progress();
    await clock.advance(500);
  }
  t.equal(passed(), 'total');
});

t.test('takes silence for its own when it wakes up late, but only once', async (t) => {
  const { clock, watch, passed } = setup(t);
  watch.progress();
  await clock.jump(5_000);
  t.equal(passed(), undefined, 'the process was held up');
  await clock.jump(3_000);
  t.equal(passed(), 'stall');
});

t.test('sees bytes that were waiting while it slept too long', async (t) => {
  const { clock, watch, passed } = setup(t, { ...LIMITS, totalTimeoutMs: 60_000 });
  watch.progress();
  for (let round = 0; round < 3; round += 1) {
    await clock.jump(5_000);
    watch.progress();
  }
  t.equal(passed(), undefined);
});

t.test('has one timer for all calls, and none after the last', async (t) => {
  const { clock, start, unwatch, passed } = setup(t);
  const others = Array.from({ length: 8 }, () => start());
  t.equal(clock.sleepers, 1);
  for (const other of others) other.unwatch();
  t.equal(clock.sleepers, 1);
  unwatch();
  t.equal(clock.sleepers, 0, 'no timer is left behind');
  await clock.advance(20_000);
  t.equal(passed(), undefined);
});

t.test('each call has its own time, whichever was there first', async (t) => {
  const { clock, start, passed } = setup(t);
  await clock.advance(500);
  const short = start({ totalTimeoutMs: 200 });
  const later = start();
  await clock.advance(200);
  t.same([passed(), short.passed(), later.passed()], [undefined, 'total', undefined]);
  await clock.advance(2_300);
  t.same([passed(), later.passed()], ['first_token', undefined]);
  await clock.advance(500);
  t.equal(later.passed(), 'first_token');
  t.equal(clock.sleepers, 0);
});

t.test('a watch that begins while another one ends is minded too', async (t) => {
  const clock = new ManualClock();
  const deadlines = new Deadlines(clock);
  const ended: string[] = [];
  const begin = (name: string, onPassed = () => {}) => {
    const unwatch = deadlines.watch(new DeadlineWatch(LIMITS, clock), () => {
      ended.push(name);
      onPassed();
    });
    t.teardown(unwatch);
  };
  begin('first', () => begin('second'));
  await clock.advance(3_000);
  t.same(ended, ['first']);
  await clock.advance(3_000);
  t.same(ended, ['first', 'second']);
});
