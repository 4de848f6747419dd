import t from 'tap';
import { Breaker } from '../../src/gpu-pool/breaker.ts';
import { ManualClock } from '../fakes/manual-clock.ts';

function setup() {
  const clock = new ManualClock();
  const breaker = new Breaker(clock);
  const fail = (fault: Parameters<Breaker['failed']>[0], times = 1) => {
    for (let count = 0; count < times; count += 1) breaker.failed(fault, `it was ${fault}`);
  };
  return { clock, breaker, fail, waitMs: () => breaker.lookAtMs - clock.monotonicMs() };
}

t.test('opens at the first refused connection, with its reason', async (t) => {
  const { breaker, fail } = setup();
  fail('refused');
  t.match(breaker, { state: 'open', reason: 'it was refused' });
});

t.test('being full adds nothing to the wait, which is at least what the server asks for', async (t) => {
  const { breaker, fail, waitMs } = setup();
  fail('refused');
  for (let count = 0; count < 5; count += 1) {
    breaker.halfOpen();
    breaker.full('no room', 0);
    t.match(breaker, { state: 'open', reason: 'no room' });
    t.equal(waitMs(), 1_000);
  }
  breaker.full('no room', 7_000);
  t.equal(waitMs(), 7_000);
  breaker.open('refused', 'it was refused');
  t.equal(waitMs(), 1_000, 'the second opening');
});

t.test('opens at the third broken connection in a row, an answer in between forgives', async (t) => {
  const { breaker, fail } = setup();
  fail('broken', 2);
  breaker.answered();
  fail('broken', 2);
  t.equal(breaker.state, 'closed');
  fail('broken');
  t.equal(breaker.state, 'open');
});

t.test('opens at the fifth ambiguous failure in a row', async (t) => {
  const { breaker, fail } = setup();
  fail('ambiguous', 4);
  t.equal(breaker.state, 'closed');
  fail('ambiguous');
  t.equal(breaker.state, 'open');
});

t.test(
  'opens when half of the last half minute has failed, and not for what lies further back',
  async (t) => {
    const { breaker, fail, clock } = setup();
    for (let round = 0; round < 4; round += 1) {
      fail('ambiguous');
      breaker.answered();
    }
    fail('ambiguous');
    t.equal(breaker.state, 'closed', 'nine samples are too few');
    breaker.answered();
    fail('ambiguous');
    t.equal(breaker.state, 'open');

    const later = setup();
    for (let round = 0; round < 4; round += 1) {
      later.fail('ambiguous');
      later.breaker.answered();
    }
    await later.clock.advance(31_000);
    for (let round = 0; round < 3; round += 1) {
      later.fail('ambiguous');
      later.breaker.answered();
    }
    t.equal(later.breaker.state, 'closed');
    t.equal(clock.sleepers, 0);
  },
);

t.test('the failures of one moment are one opening', async (t) => {
  const { fail, waitMs } = setup();
  fail('refused', 32);
  t.equal(waitMs(), 500);
});

t.test('waits longer with every opening, up to a limit, until a request is answered', async (t) => {
  const { breaker, fail, waitMs } = setup();
  const waits = Array.from({ length: 30 }, () => {
    fail('refused');
    const wait = waitMs();
    breaker.halfOpen();
    t.equal(breaker.state, 'half_open');
    breaker.close();
    return wait;
  });
  t.same(waits.slice(0, 6), [500, 1000, 2000, 3000, 3000, 3000]);
  t.equal(waits.at(-1), 3000);
  breaker.answered();
  fail('refused');
  t.equal(waitMs(), 500);
});

t.test('half-open ends: closed again, or open with a new wait', async (t) => {
  const { breaker, fail, waitMs } = setup();
  fail('ambiguous', 5);
  breaker.halfOpen();
  breaker.open('ambiguous', 'the trial failed');
  t.match(breaker, { state: 'open', reason: 'the trial failed' });
  t.equal(waitMs(), 3_000);
  breaker.halfOpen();
  breaker.close();
  t.match(breaker, { state: 'closed', reason: null });
  fail('ambiguous', 4);
  t.equal(breaker.state, 'closed', 'what was before does not count');
  breaker.halfOpen();
  t.equal(breaker.state, 'closed', 'a closed one is not tried');
});
