import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { ProgressMeter } from '../../src/scheduler/progress.ts';
import { ManualClock } from '../fakes/manual-clock.ts';

t.test('a batch that has just begun is measured by the seconds it has had', async (t) => {
  const clock = new ManualClock();
  const meter = new ProgressMeter(clock);
  t.equal(meter.linesPerSecond(), 0);
  meter.add(10);
  t.equal(meter.linesPerSecond(), 10);
  await clock.advance(1_000);
  meter.add(20);
  t.equal(meter.linesPerSecond(), 15);
});

t.test('a steady pace is told exactly, and a standstill within half a minute', async (t) => {
  const clock = new ManualClock();
  const meter = new ProgressMeter(clock);
  for (let second = 0; second < 200; second += 1) {
    meter.add(7);
    t.equal(meter.linesPerSecond(), 7);
    await clock.advance(1_000);
  }
  await clock.advance(14_000);
  t.ok(meter.linesPerSecond() > 3 && meter.linesPerSecond() < 4);
  await clock.advance(15_000);
  t.equal(meter.linesPerSecond(), 0);
  await clock.advance(86_400_000);
  t.equal(meter.linesPerSecond(), 0);
});

t.test('the rate is what ended in the last thirty seconds, however time passes', async () => {
  const steps = fc.array(fc.tuple(fc.nat(45_000), fc.nat(50)), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 0, max: 999 }), async (sequence, offsetMs) => {
      const clock = new ManualClock(1_700_000_000_000 + offsetMs);
      const startedSecond = Math.floor(clock.monotonicMs() / 1000);
      const meter = new ProgressMeter(clock);
      const ended: { second: number; lines: number }[] = [];
      for (const [waitMs, lines] of sequence) {
        await clock.advance(waitMs);
        const second = Math.floor(clock.monotonicMs() / 1000);
        meter.add(lines);
        ended.push({ second, lines });
        const recent = ended.filter((entry) => entry.second > second - 30);
        const expected =
          recent.reduce((sum, entry) => sum + entry.lines, 0) / Math.min(30, second - startedSecond + 1);
        assert.equal(meter.linesPerSecond(), expected);
      }
    }),
  );
});
