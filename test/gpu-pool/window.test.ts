import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { AdaptiveWindow } from '../../src/gpu-pool/window.ts';

/**
 * A server that runs so many requests at once and lets the rest wait: what is asked for beyond makes every answer take
 * longer and brings nothing.
 */
function work(window: AdaptiveWindow, slots: number, answers: number, lengthOf = (_: number) => 100): void {
  for (let index = 0; index < answers; index += 1) {
    const { size, epoch } = window;
    const tokens = lengthOf(index);
    const durationMs = tokens * 5 * Math.max(1, size / slots);
    window.answered({ epoch, tokens, durationMs, inFlight: size });
  }
}

const unknown = { maxRunning: null, isSerial: false };

t.test('starts with what the server says, and at most with 32', async (t) => {
  for (const [maxRunning, isSerial, start] of [
    [null, false, 4],
    [null, true, 1],
    [8, false, 8],
    [512, false, 32],
  ] as const) {
    const window = new AdaptiveWindow({ fixed: null });
    window.hint({ maxRunning, isSerial });
    t.equal(window.size, start, `${maxRunning} ${isSerial}`);
  }
});

t.test('finds the slots of a server that says nothing, whatever they are', async (t) => {
  for (const slots of [1, 2, 4, 7, 32, 100, 256]) {
    const window = new AdaptiveWindow({ fixed: null });
    window.hint(unknown);
    work(window, slots, 30_000);
    t.ok(window.size >= slots * 0.85, `${window.size} fills ${slots} slots`);
    t.ok(window.size <= Math.max(4, slots * 1.35), `${window.size} is not far beyond ${slots}`);
  }
});

t.test('finds them quickly: after a few rounds of answers', async (t) => {
  const window = new AdaptiveWindow({ fixed: null });
  window.hint(unknown);
  work(window, 32, 4 + 4 + 8 + 16 + 32 + 64);
  t.equal(window.size, 32);
});

t.test('finds them also where answers differ in length', async (t) => {
  const window = new AdaptiveWindow({ fixed: null });
  window.hint(unknown);
  // Long tails: most answers are short, some are twenty times as long.
  work(window, 32, 20_000, (index) => 20 + ((index * 7919) % 97 < 5 ? 400 : (index * 31) % 60));
  t.ok(window.size >= 32 && window.size <= 44, String(window.size));
});

t.test('never goes above what the server can run', async (t) => {
  const window = new AdaptiveWindow({ fixed: null });
  window.hint({ maxRunning: 10, isSerial: false });
  work(window, 1000, 10_000);
  t.equal(window.size, 10);
  window.hint({ maxRunning: 6, isSerial: false });
  t.equal(window.size, 6, 'also when it says so later');
});

t.test('does not grow while there is not enough to do', async (t) => {
  const window = new AdaptiveWindow({ fixed: null });
  window.hint(unknown);
  for (let index = 0; index < 1000; index += 1) {
    window.answered({ epoch: window.epoch, tokens: 10, durationMs: 50, inFlight: 2 });
  }
  t.equal(window.size, 4);
});

t.test('an overload cuts it once, however many requests were refused in that moment', async (t) => {
  const window = new AdaptiveWindow({ fixed: null });
  window.hint({ maxRunning: 40, isSerial: false });
  const { epoch, size } = window;
  for (let index = 0; index < size; index += 1) window.overloaded(epoch);
  t.equal(window.size, 22);
  window.overloaded(window.epoch);
  t.equal(window.size, 15, 'what is refused after the cut cuts again');
});

t.test('gives back what waits in the queue of the server itself', async (t) => {
  const window = new AdaptiveWindow({ fixed: null });
  window.hint({ maxRunning: null, isSerial: false });
  work(window, 1000, 200);
  const { size } = window;
  window.queueing(4);
  t.equal(window.size, size, 'a few keep it from starving');
  window.queueing(30);
  t.ok(window.size < size);
});

t.test('comes back with half of what was good, and grows again', async (t) => {
  const window = new AdaptiveWindow({ fixed: null });
  window.hint(unknown);
  work(window, 32, 5_000);
  window.reopen();
  t.ok(window.size >= 16 && window.size <= 22, String(window.size));
  work(window, 32, 300);
  t.ok(window.size >= 32, String(window.size));
});

t.test('a fixed window stays', async (t) => {
  const window = new AdaptiveWindow({ fixed: 7 });
  window.hint({ maxRunning: 2, isSerial: true });
  work(window, 1, 1_000);
  window.overloaded(window.epoch);
  window.queueing(100);
  window.reopen();
  t.equal(window.size, 7);
});

t.test('whatever happens, it is at least one and at most what the server can run', async () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ tokens: fc.nat(1000), durationMs: fc.nat(10_000), inFlight: fc.nat(100) }),
      fc.constantFrom('overloaded', 'reopen'),
      fc.nat(200),
    ),
    { maxLength: 200 },
  );
  fc.assert(
    fc.property(steps, fc.option(fc.integer({ min: 1, max: 64 })), (sequence, maxRunning) => {
      const window = new AdaptiveWindow({ fixed: null });
      window.hint({ maxRunning, isSerial: false });
      for (const step of sequence) {
        if (step === 'overloaded') window.overloaded(window.epoch);
        else if (step === 'reopen') window.reopen();
        else if (typeof step === 'number') window.queueing(step);
        else window.answered({ ...step, epoch: window.epoch });
        assert.ok(Number.isInteger(window.size) && window.size >= 1);
        assert.ok(window.size <= (maxRunning ?? 4096));
      }
    }),
  );
});
