import t from 'tap';
import { StartMarker } from '../../src/scheduler/start-marker.ts';
import { StoreTrouble } from '../../src/scheduler/store-trouble.ts';
import type { LeasedChunk } from '../../src/scheduler/work.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { recordingLog } from '../fakes/recording-log.ts';
import { until } from '../fakes/until.ts';
import { leasedChunk, work } from '../fakes/work-fixtures.ts';

function setup(answers: (boolean | Error)[] = []) {
  const clock = new ManualClock();
  const calls: (readonly number[])[] = [];
  const stale: LeasedChunk[] = [];
  const marker = new StartMarker({
    store: {
      markStarted: async (_lease, lines) => {
        calls.push(lines);
        const answer = answers.shift() ?? true;
        if (answer instanceof Error) throw answer;
        return answer;
      },
    },
    clock,
    trouble: new StoreTrouble(recordingLog().log),
    onStale: (chunk) => stale.push(chunk),
  });
  return { clock, calls, stale, marker };
}

t.test('lines that start together are marked together, and each once', async (t) => {
  const { marker, calls } = setup();
  const chunk = leasedChunk('b1', 3);
  const lines = [1, 2, 3].map((line) => work(line, { chunk }));
  t.same(await Promise.all(lines.map((line) => marker.mark(line))), [true, true, true]);
  t.equal(await marker.mark(lines[0] ?? work(1)), true);
  t.same(calls, [[1, 2, 3]]);
});

t.test('a line of a lost lease does not start', async (t) => {
  const { marker, stale } = setup([false]);
  const item = work(1);
  t.equal(await marker.mark(item), false);
  t.same(stale, [item.chunk]);
});

t.test('while the disk is full nothing starts; when there is space, it does', async (t) => {
  const { marker, calls, clock } = setup([new Error('full'), new Error('full')]);
  const marked = marker.mark(work(1));
  await until('it to be started', async () => {
    await clock.advance(1_000);
    return calls.length === 3;
  });
  t.equal(await marked, true);
});

t.test('what waits for the disk at a stop, or for a chunk that is dropped, does not start', async (t) => {
  const stopped = setup([new Error('full')]);
  const first = stopped.marker.mark(work(1));
  await until('the first try', () => stopped.calls.length === 1);
  stopped.marker.stop();
  t.equal(await first, false);
  const dropped = setup([new Error('full'), new Error('full')]);
  const item = work(1);
  const second = dropped.marker.mark(item);
  await until('the first try', () => dropped.calls.length === 1);
  item.chunk.controller.abort();
  await dropped.clock.advance(1_000);
  t.equal(await second, false);
});

t.test('a line that is placed again before its mark is stored waits for that mark', async (t) => {
  const { marker, calls, clock } = setup([new Error('full')]);
  const item = work(1);
  const first = marker.mark(item);
  await until('the first try', () => calls.length === 1);
  let isMarked = false;
  const second = marker.mark(item).then((answer) => {
    isMarked = answer;
  });
  await until('the wait for the disk', () => clock.sleepers === 1);
  t.equal(isMarked, false);
  await clock.advance(1_000);
  await Promise.all([first, second]);
  t.equal(isMarked, true);
  t.equal(calls.length, 2);
});
