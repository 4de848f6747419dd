import { once } from 'node:events';
import { connect } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { EventSource } from 'undici';
import { type Answer, ask, pausedReader } from '../fakes/http-ask.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import {
  answered,
  finishedBatch,
  leasedBatch,
  retriedBatch,
  startResultsServer,
} from '../fakes/results-server.ts';
import { readEvents } from '../fakes/sse-reader.ts';
import { until } from '../fakes/until.ts';

const server = await startResultsServer(t);
const asEvents = { accept: 'text/event-stream' };
const finished = await finishedBatch(server.store, 400, 1500);
const resultsOf = (id: string, query = '') => `${server.url}/batches/${id}/results${query}`;
const whole = await ask(resultsOf(finished));
const wholeLines = String(whole.body).split('\n').slice(0, -1);

/** Bytes at which to cut: the same in every run. */
function* cutPoints(count: number, size: number): Generator<number> {
  for (let index = 1; index <= count; index += 1) yield 1 + ((index * 2654435761) % (size - 1));
}

t.test('the log of a finished batch is its records, one a line', async (t) => {
  t.equal(whole.status, 200);
  t.ok(whole.isWhole);
  t.equal(whole.headers['content-type'], 'application/x-ndjson');
  t.same(
    wholeLines.map((line) => JSON.parse(line).seq),
    Array.from({ length: 400 }, (_, index) => index + 1),
  );
});

t.test('cut at any byte and gone on with by cursor, the log is the whole', async (t) => {
  let cuts = 0;
  for (const cutAfter of cutPoints(100, whole.body.length)) {
    let read = '';
    const head = await ask(resultsOf(finished), { cutAfter });
    read += String(head.body).slice(0, String(head.body).lastIndexOf('\n') + 1);
    cuts += head.isWhole ? 0 : 1;
    const last = read.split('\n').at(-2);
    const after = last ? JSON.parse(last).seq : 0;
    read += String((await ask(resultsOf(finished, `?after=${after}`))).body);
    if (read !== String(whole.body)) t.fail(`cut after ${cutAfter} bytes`);
  }
  t.equal(cuts, 100);
});

t.test('cut at any byte and gone on with by range, the log is the whole', async (t) => {
  for (const cutAfter of cutPoints(100, whole.body.length)) {
    const head = await ask(resultsOf(finished), { cutAfter });
    const headers = { range: `bytes=${head.body.length}-`, 'if-range': String(head.headers.etag) };
    const rest = await ask(resultsOf(finished), { headers });
    if (rest.status !== 206 || !Buffer.concat([head.body, rest.body]).equals(whole.body)) {
      t.fail(`cut after ${cutAfter} bytes`);
    }
  }
});

t.test('cut at any byte and gone on with by Last-Event-ID, the events are the log', async (t) => {
  const size = (await ask(resultsOf(finished), { headers: asEvents })).body.length;
  for (const cutAfter of cutPoints(100, size - 100)) {
    const head = readEvents(String((await ask(resultsOf(finished), { headers: asEvents, cutAfter })).body));
    const resumed = { ...asEvents, 'last-event-id': head.events.at(-1)?.id ?? '0' };
    // The header wins.
    const rest = readEvents(String((await ask(resultsOf(finished, '?after=3'), { headers: resumed })).body));
    const records = [...head.events, ...rest.events].filter(({ event }) => event === 'result');
    if (records.map(({ data }) => `${data}\n`).join('') !== String(whole.body)) {
      t.fail(`cut after ${cutAfter} bytes`);
    }
  }
});

t.test('a running batch, cut again and again while it is written, is the whole too', async (t) => {
  for (const headers of [{}, asEvents]) {
    const lineCount = 300;
    const batch = await leasedBatch(server.store, lineCount);
    const write = async () => {
      for (let line = 1; line <= lineCount; line += 3) {
        await batch.finish(...[0, 1, 2].map((offset) => answered(line + offset, 700)));
      }
    };
    const writing = write();
    let read = '';
    let cursor = 0;
    let isWhole = false;
    const cuts = cutPoints(1000, 20_000);
    while (!isWhole) {
      const answer = await ask(resultsOf(batch.id, `?after=${cursor}`), {
        headers,
        cutAfter: cuts.next().value as number,
      });
      isWhole = answer.isWhole;
      const text = String(answer.body);
      const records =
        headers === asEvents
          ? readEvents(text).events.flatMap(({ event, data }) => (event === 'result' ? [data] : []))
          : text.split('\n').slice(0, -1);
      read += records.map((record) => `${record}\n`).join('');
      const last = records.at(-1);
      if (last) cursor = JSON.parse(last).seq;
    }
    await writing;
    t.equal(read, String((await ask(resultsOf(batch.id))).body));
  }
});

t.test('any range is the slice of the whole', async () => {
  const { size } = { size: whole.body.length };
  await fc.assert(
    fc.asyncProperty(fc.nat(size + 10), fc.nat(100_000), fc.nat(399), async (first, length, after) => {
      const rest = Buffer.from(
        wholeLines
          .slice(after)
          .map((line) => `${line}\n`)
          .join(''),
      );
      const answer = await ask(resultsOf(finished, `?after=${after}`), {
        headers: { range: `bytes=${first}-${first + length}` },
      });
      if (first >= rest.length) {
        return answer.status === 416 && answer.headers['content-range'] === `bytes */${rest.length}`;
      }
      const part = rest.subarray(first, first + length + 1);
      const range = `bytes ${first}-${first + part.length - 1}/${rest.length}`;
      return (
        answer.status === 206 &&
        answer.isWhole &&
        answer.headers['content-range'] === range &&
        answer.headers['content-length'] === String(part.length) &&
        answer.body.equals(part)
      );
    }),
    { numRuns: 150 },
  );
});

t.test('a suffix, several ranges, If-Range, and a range nobody can satisfy', async (t) => {
  const range = (value: string, more = {}) =>
    ask(resultsOf(finished), { headers: { range: value, ...more } });
  const suffix = await range('bytes=-100');
  t.equal(suffix.status, 206);
  t.ok(suffix.body.equals(whole.body.subarray(-100)));
  const several = await range('bytes=0-1,5-6');
  t.equal(several.status, 200);
  t.ok(several.body.equals(whole.body));
  const etag = String(whole.headers.etag);
  t.equal((await range('bytes=0-1', { 'if-range': etag })).status, 206);
  t.equal((await range('bytes=0-1', { 'if-range': '"other"' })).status, 200);
  t.equal((await range('bytes=0-1', { 'if-range': new Date().toUTCString() })).status, 200);
  const beyond = await range(`bytes=${whole.body.length}-`);
  t.equal(beyond.status, 416);
  t.equal(beyond.headers['content-range'], `bytes */${whole.body.length}`);
  t.match(JSON.parse(String(beyond.body)), { code: 'range_not_satisfiable' });
  t.match(beyond.headers['content-type'], /^application\/problem\+json/);
  t.equal(beyond.headers.etag, undefined);
});

t.test('a finished batch has a strong tag, one for each view of it, and 304 for who has it', async (t) => {
  const tags = new Set<string>();
  for (const query of [
    '',
    '?after=1',
    '?order=input',
    '?status=failed',
    '?status=succeeded',
    '?latest=true',
    '?latest=true&after=1',
  ]) {
    const answer = await ask(resultsOf(finished, query));
    const etag = String(answer.headers.etag);
    t.match(etag, /^"[^"]+"$/);
    tags.add(etag);
    t.equal(answer.headers['cache-control'], 'private, no-cache');
    const again = await ask(resultsOf(finished, query), { headers: { 'if-none-match': `"x", W/${etag}` } });
    t.equal(again.status, 304);
    t.equal(again.body.length, 0);
    t.equal(again.headers.etag, etag);
    const isPlain = query === '' || query === '?after=1';
    t.equal(answer.headers['accept-ranges'], isPlain ? 'bytes' : undefined, query);
    t.equal(answer.headers['content-length'], isPlain ? String(answer.body.length) : undefined);
    if (!isPlain) {
      const ranged = await ask(resultsOf(finished, query), { headers: { range: 'bytes=0-1' } });
      t.equal(ranged.status, 200, 'no parts of what is put together');
    }
  }
  t.equal(tags.size, 7);
});

t.test('a HEAD has the headers of the GET, no body, and waits for nothing', async (t) => {
  const running = await leasedBatch(server.store, 2);
  await running.finish(answered(1, 10));
  for (const [id, query, headers] of [
    [finished, '', {}],
    [finished, '?after=399', {}],
    [finished, '?after=500', {}],
    [finished, '?order=input', {}],
    [finished, '', asEvents],
    [running.id, '', {}],
    [running.id, '', asEvents],
  ] as const) {
    const head = await ask(resultsOf(id, query), { method: 'HEAD', headers });
    t.equal(head.status, 200);
    t.equal(head.body.length, 0);
    const { date: _, connection: __, ...named } = head.headers;
    const get = await ask(resultsOf(id, query), { headers, cutAfter: 1 });
    const { date: ___, connection: ____, 'transfer-encoding': _____, ...expected } = get.headers;
    t.same(named, expected, `${id} ${query}`);
  }
  const ranged = await ask(resultsOf(finished), { method: 'HEAD', headers: { range: 'bytes=0-1' } });
  t.equal(ranged.status, 200);
  t.equal((await ask(resultsOf('none'), { method: 'HEAD' })).status, 404);
  await running.finish(answered(2, 10));
});

t.test('a running batch has no tag and no parts', async (t) => {
  const batch = await leasedBatch(server.store, 2);
  await batch.finish(answered(1, 10));
  const headers = { range: 'bytes=0-1', 'if-none-match': '*' };
  const answer = await ask(resultsOf(batch.id, '?follow=false'), { headers });
  t.equal(answer.status, 200);
  t.match(String(answer.body), /^\{"seq":1,.*\}\n$/);
  t.equal(answer.headers['cache-control'], 'no-store');
  t.equal(answer.headers['accept-ranges'], undefined);
  t.equal(answer.headers.etag, undefined);
});

t.test('events: the records as data, cursors as ids, one retry, and an end', async (t) => {
  for (const [query, cursor] of [
    ['', 'seq'],
    ['?order=input', 'line'],
    ['?status=failed', 'seq'],
  ] as const) {
    const answer = await ask(resultsOf(finished, query), { headers: asEvents });
    t.equal(answer.headers['content-type'], 'text/event-stream');
    t.equal(answer.headers.etag, undefined);
    t.ok(answer.isWhole);
    const { events, retry } = readEvents(String(answer.body));
    t.same(retry, ['3000']);
    const records = events.filter(({ event }) => event === 'result');
    t.ok(records.every(({ id, data }) => id === String(JSON.parse(data)[cursor])));
    const lines = String((await ask(resultsOf(finished, query))).body);
    t.equal(records.map(({ data }) => `${data}\n`).join(''), lines);
    t.same(events.slice(records.length), [
      { event: 'end', data: '{"status":"completed","last_seq":400}', id: '400' },
    ]);
  }
});

t.test('a client of events that has everything is told not to come again', async (t) => {
  const resume = (id: string, query = '') =>
    ask(resultsOf(finished, query), { headers: { ...asEvents, 'last-event-id': id } });
  for (const answer of [
    await resume('400'),
    await resume('4000'),
    await resume('400', '?order=input'),
    await resume('399', '?status=succeeded&after=1'),
  ]) {
    t.equal(answer.status, 204);
    t.equal(answer.body.length, 0);
  }
  t.equal((await resume('399')).status, 200);
  for (const id of ['x', '-1', '1e3', '99999999999999999999']) {
    const answer = await resume(id);
    t.equal(answer.status, 400);
    t.match(JSON.parse(String(answer.body)), { code: 'bad_request' });
  }
  const ignored = await ask(resultsOf(finished, '?after=399'), { headers: { 'last-event-id': 'x' } });
  t.equal(ignored.status, 200, 'NDJSON knows no such header');
  const running = await leasedBatch(server.store, 1);
  const waiting = ask(resultsOf(running.id), { headers: { ...asEvents, 'last-event-id': '7' } });
  await until('the stream', async () => (await server.streams()) === 1);
  await running.finish(answered(1, 10));
  t.equal((await waiting).status, 200, 'of a running batch more may come');
});

t.test('an EventSource reads a batch to its end and then stops by itself', async (t) => {
  const batch = await leasedBatch(server.store, 20);
  const source = new EventSource(resultsOf(batch.id));
  t.teardown(() => source.close());
  const seqs: number[] = [];
  let ends = 0;
  source.addEventListener('result', (event) => seqs.push(JSON.parse((event as MessageEvent).data).seq));
  source.addEventListener('end', () => {
    ends += 1;
  });
  await once(source, 'open');
  for (let line = 1; line <= 20; line += 1) await batch.finish(answered(line, 100));
  await until('the end', () => ends === 1);
  await until('the source to stop', () => source.readyState === EventSource.CLOSED);
  t.same(
    seqs,
    Array.from({ length: 20 }, (_, index) => index + 1),
  );
  t.equal(ends, 1);
});

t.test('a heartbeat comes when nothing else does, and never unless asked for', async (t) => {
  const clock = new ManualClock();
  const quiet = await startResultsServer(t, { clock });
  const batch = await leasedBatch(quiet.store, 2);
  const url = `${quiet.url}/batches/${batch.id}/results`;
  const open = (query: string, headers = {}) => {
    const text = { now: '' };
    const done = fetch(url + query, { headers }).then(async (answer) => {
      for await (const piece of answer.body ?? []) text.now += Buffer.from(piece).toString();
    });
    return { text, done };
  };
  const beating = open('?heartbeat=20');
  const silent = open('');
  const events = open('', asEvents);
  await until('three streams', async () => (await quiet.streams()) === 3 && clock.sleepers === 2);
  await clock.advance(14_999);
  t.same([beating.text.now, silent.text.now], ['', '']);
  await clock.advance(1);
  await until('a comment', () => events.text.now.endsWith('\n\n: keep-alive\n\n'));
  await clock.advance(5_000);
  await until('a heartbeat', () => beating.text.now === '\n');
  await until('the next to be due', () => clock.sleepers === 2);
  await clock.advance(20_000);
  await until('another', () => beating.text.now === '\n\n');
  await batch.finish(answered(1, 10), answered(2, 10));
  // News is gathered for a moment before it is read.
  await until('three to gather', () => clock.sleepers === 5);
  await clock.advance(100);
  await Promise.all([beating.done, silent.done, events.done]);
  t.equal(beating.text.now.trimStart(), silent.text.now);
  t.equal(silent.text.now.split('\n').length, 3);
  t.equal(clock.sleepers, 0, 'no timer stays');
  for (const seconds of ['0', '301', 'x']) {
    t.equal((await fetch(`${url}?heartbeat=${seconds}`)).status, 400);
  }
});

t.test('a reader that takes nothing for five minutes is cut off, one that waits is not', async (t) => {
  const clock = new ManualClock();
  const slow = await startResultsServer(t, { clock });
  const big = await finishedBatch(slow.store, 300, 200_000);
  const waiting = await leasedBatch(slow.store, 1);
  const follower = ask(`${slow.url}/batches/${waiting.id}/results`);
  const stuck = await stuckReader(slow.port, `/batches/${big}/results`);
  await until('the stuck reader to be waited for', async () => {
    return clock.sleepers === 1 && (await slow.streams()) === 2;
  });
  await clock.advance(5 * 60_000 - 1);
  t.equal(await slow.streams(), 2);
  await clock.advance(1);
  await until('one stream to be left', async () => (await slow.streams()) === 1);
  t.ok((await stuck.rest()).length > 0);
  await clock.advance(60 * 60_000);
  await waiting.finish(answered(1, 10));
  await until('news to be gathered', () => clock.sleepers === 1);
  await clock.advance(100);
  t.equal((await follower).isWhole, true);
});

/** Asks, and reads nothing until `rest` is called, which answers all that came before the connection broke. */
async function stuckReader(port: number, path: string, version = '1.1') {
  const socket = connect(port, '127.0.0.1');
  socket.pause();
  const broken = new Promise<string>((resolve) => {
    socket.on('error', (error) => resolve((error as NodeJS.ErrnoException).code ?? ''));
    socket.on('end', () => resolve('end'));
  });
  const pieces: Buffer[] = [];
  socket.on('data', (piece: Buffer) => pieces.push(piece));
  socket.pause();
  await once(socket, 'connect');
  socket.write(`GET ${path} HTTP/${version}\r\nhost: x\r\n\r\n`);
  return {
    socket,
    async rest(): Promise<string> {
      socket.resume();
      await broken;
      return String(Buffer.concat(pieces));
    },
    broken,
  };
}

t.test('a reader that vanishes leaves no stream, no watcher and no timer', async (t) => {
  const clock = new ManualClock();
  const watched = await startResultsServer(t, { clock });
  const big = await finishedBatch(watched.store, 300, 200_000);
  const waiting = await leasedBatch(watched.store, 1);
  const paths = [
    `/batches/${waiting.id}/results`,
    `/batches/${waiting.id}/results?heartbeat=5`,
    `/batches/${waiting.id}/results?order=input&status=failed`,
    `/batches/${big}/results`,
    `/batches/${big}/results?latest=true`,
  ];
  const readers = await Promise.all(paths.map((path) => stuckReader(watched.port, path)));
  await until('all streams', async () => (await watched.streams()) === 5 && clock.sleepers === 3);
  for (const { socket } of readers) socket.destroy();
  await until('no stream', async () => (await watched.streams()) === 0);
  t.equal(clock.sleepers, 0);
});

t.test('a stop breaks streams off, and nobody can take the part for the whole', async (t) => {
  const stopping = await startResultsServer(t);
  const batch = await leasedBatch(stopping.store, 2);
  await batch.finish(answered(1, 10));
  const path = `/batches/${batch.id}/results`;
  const modern = ask(stopping.url + path);
  const events = ask(stopping.url + path, { headers: asEvents });
  const old = await stuckReader(stopping.port, path, '1.0');
  old.socket.resume();
  await until('three streams', async () => (await stopping.streams()) === 3);
  stopping.closing.abort(new Error('closing'));
  for (const answer of [await modern, await events]) t.equal(answer.isWhole, false);
  t.equal(await old.broken, 'ECONNRESET', 'HTTP/1.0 ends answers by closing: only a reset is a break');
  await until('no stream to be left', async () => (await stopping.streams()) === 0);
});

t.test('an old client without chunks gets the whole and a proper end', async (t) => {
  const batch = await leasedBatch(server.store, 2);
  const old = await stuckReader(server.port, `/batches/${batch.id}/results`, '1.0');
  old.socket.resume();
  await batch.finish(answered(1, 10), answered(2, 10));
  t.equal(await old.broken, 'end');
  t.match(await old.rest(), /\r\n\r\n\{"seq":1,.*\}\n\{"seq":2,.*\}\n$/);
});

const seqsOf = (answer: Answer) =>
  String(answer.body)
    .split('\n')
    .flatMap((line) => (line === '' ? [] : [JSON.parse(line).seq as number]));

t.test('a retry appends: the plain log grows, the current results change, and so do the tags', async (t) => {
  const { store } = server;
  const batch = await leasedBatch(store, 4);
  await batch.finish(answered(2, 10), answered(1, 10, 'failed'), answered(4, 10, 'failed'), answered(3, 10));
  const before = await ask(resultsOf(batch.id));
  const tagBefore = (await ask(resultsOf(batch.id, '?latest=true'))).headers.etag;
  const retry = await retriedBatch(store, batch.id, [1, 4]);

  t.equal((await ask(resultsOf(batch.id, '?follow=false'))).headers.etag, undefined, 'it runs again');
  const now = (query: string) => ask(resultsOf(batch.id, `?follow=false&${query}`));
  t.same(seqsOf(await now('order=input')), [2, 1, 4, 3], 'what is current meanwhile is the failures');
  const inOrder = ask(resultsOf(batch.id, '?order=input'));
  const following = ask(resultsOf(batch.id, '?after=4'));
  await retry.finish(answered(4, 20, 'failed'));
  await retry.finish(answered(1, 20));

  t.same(seqsOf(await following), [5, 6]);
  t.same(seqsOf(await inOrder), [6, 1, 4, 5], 'it waited for the lines that ran again');
  const after = await ask(resultsOf(batch.id));
  t.ok(after.body.subarray(0, before.body.length).equals(before.body), 'what was there is there');
  t.same(seqsOf(after), [1, 2, 3, 4, 5, 6]);
  t.not(after.headers.etag, before.headers.etag);
  t.same(seqsOf(await ask(resultsOf(batch.id, '?latest=true'))), [1, 4, 5, 6]);
  t.same(seqsOf(await ask(resultsOf(batch.id, '?status=failed'))), [5]);
  t.not((await ask(resultsOf(batch.id, '?latest=true'))).headers.etag, tagBefore);
  const headers = { range: 'bytes=10-', 'if-range': String(before.headers.etag) };
  t.equal((await ask(resultsOf(batch.id), { headers })).status, 200, 'a part of what was is none of what is');
});

t.test('a retry that comes while a finished batch is read makes the answer no longer', async (t) => {
  const { store } = server;
  const id = await finishedBatch(store, 300, 20_000);
  const before = await ask(resultsOf(id));
  const events = await ask(resultsOf(id), { headers: asEvents });
  const readers = {
    plain: await pausedReader(resultsOf(id)),
    events: await pausedReader(resultsOf(id), asEvents),
    current: await pausedReader(resultsOf(id, '?latest=true')),
  };
  const retry = await retriedBatch(store, id, [5]);
  await retry.finish(answered(5, 10));
  const plain = await readers.plain.rest();
  t.ok(plain.isWhole && plain.body.equals(before.body));
  t.ok((await readers.events.rest()).body.equals(events.body));
  t.equal((await readers.current.rest()).isWhole, false, 'two halves of two answers make no whole');
  t.equal(seqsOf(await ask(resultsOf(id))).length, 301);
});

t.test('a batch that is deleted while it is read breaks its streams off', async (t) => {
  const { store } = server;
  const id = await finishedBatch(store, 300, 20_000);
  const readers = await Promise.all([
    pausedReader(resultsOf(id)),
    pausedReader(resultsOf(id), asEvents),
    pausedReader(resultsOf(id, '?order=input')),
  ]);
  t.equal(await store.deleteBatch(id), 'deleted');
  for (const reader of readers) t.equal((await reader.rest()).isWhole, false);
  await until('no stream to be left', async () => (await server.streams()) === 0);
  for (const path of ['results', 'events']) {
    const answer = await ask(`${server.url}/batches/${id}/${path}`);
    t.equal(answer.status, 410);
    t.match(JSON.parse(String(answer.body)), { code: 'batch_deleted' });
  }
});

t.test('many streams at once are all whole', async (t) => {
  const answers: Answer[] = await Promise.all(Array.from({ length: 20 }, () => ask(resultsOf(finished))));
  t.ok(answers.every(({ body, isWhole }) => isWhole && body.equals(whole.body)));
  await until('no stream to be left', async () => (await server.streams()) === 0);
});
