import t from 'tap';
import { ask } from '../fakes/http-ask.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { answered, leasedBatch, type ResultsServer, startResultsServer } from '../fakes/results-server.ts';
import { readEvents } from '../fakes/sse-reader.ts';
import { until } from '../fakes/until.ts';

const clock = new ManualClock();
const server = await startResultsServer(t, { clock });
const eventsOf = (id: string) => `${server.url}/batches/${id}/events`;

interface Progress {
  readonly status: string;
  readonly last_seq: number;
  readonly request_counts: Readonly<Record<string, number>>;
  readonly line_counts: Readonly<Record<string, number>>;
  readonly progress: Readonly<Record<string, unknown>>;
}

/** Reads the events of a batch on its own; what has come so far can be looked at. */
function reading(of: ResultsServer, id: string) {
  const stopped = new AbortController();
  let text = '';
  let end = 'not yet';
  const done = (async () => {
    const answer = await fetch(`${of.url}/batches/${id}/events`, { signal: stopped.signal });
    for await (const piece of answer.body ?? []) text += Buffer.from(piece).toString();
    end = 'cleanly';
  })().catch(() => {
    end = 'broken';
  });
  return {
    done,
    stop: () => stopped.abort(),
    get end() {
      return end;
    },
    get all() {
      return readEvents(text);
    },
    progress: () =>
      readEvents(text).events.flatMap(({ event, data }) =>
        event === 'progress' ? [JSON.parse(data) as Progress] : [],
      ),
  };
}

t.test('says how things stand at once, then every change, and then the end', async (t) => {
  const batch = await leasedBatch(server.store, 3);
  const stream = reading(server, batch.id);
  await until('the first progress', () => stream.progress().length === 1);
  t.match(stream.progress()[0], {
    status: 'in_progress',
    last_seq: 0,
    request_counts: { total: 3, completed: 0, failed: 0 },
    line_counts: { queued: 0, leased: 3, succeeded: 0, failed: 0, cancelled: 0 },
    progress: { lines_per_second: 0, eta_seconds: null, waiting_for: null },
  });
  await clock.advance(1000);
  await batch.finish(answered(1, 10));
  await until('the second', () => stream.progress().length === 2);
  t.match(stream.progress()[1], { last_seq: 1, line_counts: { succeeded: 1 } });
  await clock.advance(1000);
  await batch.finish(answered(2, 10, 'failed'), answered(3, 10));
  await stream.done;
  t.equal(stream.end, 'cleanly');
  const { events, retry } = stream.all;
  t.same(retry, ['3000']);
  t.same(
    events.map(({ event }) => event),
    ['progress', 'progress', 'progress', 'end'],
  );
  t.match(stream.progress()[2], { status: 'completed', request_counts: { completed: 2, failed: 1 } });
  t.same(JSON.parse(events.at(-1)!.data), { status: 'completed', last_seq: 3 });
});

t.test('many changes within a second are one event, and the last state always comes', async (t) => {
  const batch = await leasedBatch(server.store, 50);
  const stream = reading(server, batch.id);
  await until('the first progress', () => stream.progress().length === 1);
  for (let line = 1; line <= 49; line += 1) await batch.finish(answered(line, 10));
  t.equal(stream.progress().length, 1);
  await clock.advance(999);
  t.equal(stream.progress().length, 1);
  await clock.advance(1);
  await until('all of them at once', () => stream.progress().length === 2);
  t.match(stream.progress()[1], { last_seq: 49 });
  await batch.finish(answered(50, 10));
  await clock.advance(1000);
  await stream.done;
  t.match(
    stream.progress().map(({ status, last_seq }) => [status, last_seq]),
    [
      ['in_progress', 0],
      ['in_progress', 49],
      ['completed', 50],
    ],
  );
});

t.test('what changes without a record is seen too; nothing new is not said', async (t) => {
  const batch = await leasedBatch(server.store, 1);
  const stream = reading(server, batch.id);
  await until('the first progress', () => stream.progress().length === 1);
  await clock.advance(9_000);
  t.equal(stream.progress().length, 1);
  server.waitingFor = 'a model server';
  await clock.advance(6_000);
  await until('the news', () => stream.progress().length === 2);
  t.match(stream.progress()[1], { progress: { waiting_for: 'a model server' } });
  server.waitingFor = null;
  stream.stop();
  await stream.done;
  await until('no timer to be left', () => clock.sleepers === 0);
  await batch.finish(answered(1, 10));
});

t.test('a comment every 15 seconds keeps a silent stream alive', async (t) => {
  const batch = await leasedBatch(server.store, 1);
  const stream = reading(server, batch.id);
  await until('the first progress', () => stream.progress().length === 1);
  await until('the wait', () => clock.sleepers === 2);
  await clock.advance(15_000);
  await until('a comment', () => stream.all.comments.length === 1);
  await until('the wait', () => clock.sleepers === 2);
  await clock.advance(15_000);
  await until('another', () => stream.all.comments.length === 2);
  await batch.finish(answered(1, 10));
  await clock.advance(1_000);
  await stream.done;
  t.equal(stream.end, 'cleanly');
});

t.test('of a batch that has ended: one progress and the end, and 204 for who has seen it', async (t) => {
  const batch = await leasedBatch(server.store, 1);
  await batch.finish(answered(1, 10));
  const answer = await ask(eventsOf(batch.id));
  t.equal(answer.headers['content-type'], 'text/event-stream');
  t.equal(answer.headers['cache-control'], 'no-store');
  t.ok(answer.isWhole);
  const { events } = readEvents(String(answer.body));
  t.same(
    events.map(({ event }) => event),
    ['progress', 'end'],
  );
  const again = (id: string) => ask(eventsOf(batch.id), { headers: { 'last-event-id': id } });
  t.equal((await again(events[1]!.id)).status, 204);
  t.equal((await again('end-0')).status, 200);
  t.equal((await ask(eventsOf('none'))).status, 404);
});

t.test('a stop breaks it off', async (t) => {
  const stopping = await startResultsServer(t);
  const batch = await leasedBatch(stopping.store, 1);
  const stream = reading(stopping, batch.id);
  await until('the first progress', () => stream.progress().length === 1);
  stopping.closing.abort(new Error('closing'));
  await stream.done;
  t.equal(stream.end, 'broken');
});
