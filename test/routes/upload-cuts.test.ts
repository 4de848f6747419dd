// Uploads that break off: wherever it happens, nothing of them is left, and nobody else notices.

import { once } from 'node:events';
import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { pino } from 'pino';
import t from 'tap';
import { createHttpServer } from '../../src/routes/http-server.ts';
import { UploadAdmission } from '../../src/routes/upload-admission.ts';
import { watchPace } from '../../src/routes/upload-pace.ts';
import { type IntakeServer, startIntake } from '../fakes/intake-server.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { questions } from '../fakes/running-service.ts';
import { altered, scratchStore } from '../fakes/scratch-store.ts';
import { until } from '../fakes/until.ts';

const store = await scratchStore(t);
const open = new Set<string>();
/** Knows of every upload whether it has ended. */
const watched = altered(store, {
  async beginUpload(id, key) {
    open.add(id);
    return store.beginUpload(id, key);
  },
  async commitUpload(id, batch) {
    const committed = await store.commitUpload(id, batch);
    open.delete(id);
    return committed;
  },
  async abandonUpload(id) {
    await store.abandonUpload(id);
    open.delete(id);
  },
});
const places = new UploadAdmission(8);
const server = await startIntake(t, { store: watched, uploadAdmission: places });

const file = Buffer.from(`${questions(3000)}\n`);
const BOUNDARY = 'cut-here';
const part = (head: string) => `--${BOUNDARY}\r\ncontent-disposition: form-data; ${head}\r\n\r\n`;
const form = Buffer.concat([
  Buffer.from(`${part('name="top_k"')}3\r\n${part('name="file"; filename="q"')}`),
  file,
  Buffer.from(`\r\n${part('name="system_prompt"')}${'Be brief. '.repeat(200)}\r\n--${BOUNDARY}--\r\n`),
]);
const packed = gzipSync(file, { level: 1 });

const JSONL = 'content-type: application/jsonl\r\n';
const WAYS: readonly { name: string; head: string; body: Buffer }[] = [
  { name: 'plain', head: JSONL, body: file },
  { name: 'gzip', head: `${JSONL}content-encoding: gzip\r\n`, body: packed },
  { name: 'form', head: `content-type: multipart/form-data; boundary=${BOUNDARY}\r\n`, body: form },
];

/** Nothing is under way any more, nothing came to be, and all places are free. */
async function nothingIsLeft(of: IntakeServer, before: number): Promise<void> {
  await until('every upload to be given up', () => open.size === 0);
  await until('all places to be free', () => {
    const taken: Disposable[] = [];
    try {
      for (let count = 0; count < 8; count += 1) taken.push(places.enter());
      return true;
    } catch {
      return false;
    } finally {
      for (const place of taken) place[Symbol.dispose]();
    }
  });
  const after = await of.stored();
  if (after !== before) throw new Error(`${after - before} batches came to be`);
}

function send(socket: Socket, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => socket.write(bytes, () => resolve()));
}

for (const { name, head, body } of WAYS) {
  t.test(`${name}: reset at any byte, fifty times`, async (t) => {
    const before = await server.stored();
    const refusedBefore = await server.refused();
    // A sequence without chance that lies well spread over the file: the golden ratio.
    for (let round = 1; round <= 50; round += 1) {
      const length = Math.floor(((round * 0.618) % 1) * body.length);
      const socket = await server.connect(`${head}content-length: ${body.length}\r\n`);
      await send(socket, body.subarray(0, length));
      if (round % 2 === 0) socket.resetAndDestroy();
      else socket.destroy();
      if (round % 8 === 0) await nothingIsLeft(server, before);
    }
    await nothingIsLeft(server, before);
    await until('all to be counted', async () => (await server.refused()) >= refusedBefore + 40);
    t.pass('nothing is left');
  });

  t.test(`${name}: a Content-Length that promises more than comes`, async () => {
    const before = await server.stored();
    const socket = await server.connect(`${head}content-length: ${body.length + 1000}\r\n`);
    await send(socket, body);
    socket.end();
    await nothingIsLeft(server, before);
  });

  t.test(`${name}: chunks without an end`, async () => {
    const before = await server.stored();
    const socket = await server.connect(`${head}transfer-encoding: chunked\r\n`);
    await send(socket, Buffer.from(`${body.length.toString(16)}\r\n`));
    await send(socket, body);
    socket.end();
    await nothingIsLeft(server, before);
  });

  t.test(`${name}: chunks of one byte arrive as well as any`, async (t) => {
    const short = name === 'form' ? form.subarray(-100) : body.subarray(0, 2000);
    const long = body.subarray(0, body.length - short.length);
    const socket = await server.connect(`${head}transfer-encoding: chunked\r\n`);
    if (name === 'form') await send(socket, chunked(long));
    const bytes = name === 'form' ? short : body;
    for (let start = 0; start < bytes.length; start += 10_000) {
      const slice = bytes.subarray(start, start + 10_000);
      await send(socket, Buffer.concat([...slice].map((byte) => chunked(Buffer.from([byte])))));
    }
    socket.write('0\r\n\r\n');
    const [answer] = await once(socket, 'data');
    t.match(String(answer), /^HTTP\/1.1 201 /);
    socket.destroy();
  });
}

function chunked(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}

t.test(
  'a Content-Length that promises less than comes: what is too much is no part of the upload',
  async (t) => {
    const line = questions(1);
    const socket = await server.connect(`${JSONL}content-length: ${line.length}\r\n`);
    await send(socket, Buffer.from(`${line}GARBAGE\r\n\r\n`));
    const [answer] = await once(socket, 'data');
    // The rest is no request: whichever is answered first, what lies within the length is all there is.
    t.match(String(answer), /^HTTP\/1.1 (201|400) [\s\S]*"code"|"id"/);
    socket.destroy();
    await until('the upload to end', () => open.size === 0);
    const { batches } = await store.listBatches({ after: null, limit: 1 });
    t.ok(batches.every(({ total, inputBytes }) => total !== 1 || inputBytes === line.length));
  },
);

t.test('an upload cut off while it waits for the disk leaves nothing either', async (t) => {
  const gate = Promise.withResolvers<void>();
  let waiting = 0;
  const slow = await startIntake(t, {
    store: altered(watched, {
      async appendChunk(id, chunk) {
        waiting += 1;
        await gate.promise;
        return store.appendChunk(id, chunk);
      },
    }) as typeof store,
    uploadAdmission: places,
  });
  const before = await slow.stored();
  const socket = await slow.connect(`${JSONL}content-length: ${file.length}\r\n`);
  await send(socket, file.subarray(0, file.length - 10));
  await until('a chunk on its way', () => waiting > 0);
  socket.resetAndDestroy();
  gate.resolve();
  await nothingIsLeft(slow, before);
});

t.test('a client that sends next to nothing is cut off with 408 and leaves nothing', async (t) => {
  for (const { name, head, body } of WAYS) {
    const clock = new ManualClock();
    const patient = await startIntake(t, { store: watched, uploadAdmission: places, clock });
    const before = await patient.stored();
    const socket = await patient.connect(`${head}content-length: ${body.length}\r\n`);
    const answered = once(socket, 'data');
    // With the first bytes everything has begun that will begin.
    await send(socket, body.subarray(0, 1000));
    await until('an upload under way', () => open.size === 1 && clock.sleepers > 0);
    let isCut = false;
    void answered.then(() => {
      isCut = true;
    });
    for (let seconds = 0; seconds < 600 && !isCut; seconds += 5) {
      // Not to the last: a client that writes to a closed connection may never get to read its answer.
      if (seconds < 40) await send(socket, body.subarray(1000 + seconds, 1001 + seconds));
      await clock.advance(5000);
    }
    t.match(String((await answered)[0]), /^HTTP\/1.1 408 [\s\S]*upload_stalled/, name);
    await nothingIsLeft(patient, before);
    t.ok(clock.now() <= 1_700_000_000_000 + 600_000);
  }
});

t.test('a slow but honest client is left in peace', async (t) => {
  const clock = new ManualClock();
  const patient = await startIntake(t, { store: watched, uploadAdmission: places, clock });
  const socket = await patient.connect(`${JSONL}content-length: ${file.length}\r\n`);
  const answered = once(socket, 'data');
  // 2 kB a second, for as long as it takes.
  const looked = 10_000;
  for (let start = 0; start < file.length; start += looked) {
    const sent = Math.min(file.length, start + looked);
    await send(socket, file.subarray(start, sent));
    await until('the bytes to arrive', async () => clock.sleepers > 0 || sent === file.length);
    await clock.advance(5000);
  }
  t.match(String((await answered)[0]), /^HTTP\/1.1 201 /);
  socket.destroy();
});

t.test('a client that we keep waiting is not to blame', async (t) => {
  const clock = new ManualClock();
  // What lies unread is our debt; sent is everything.
  const full = { readableLength: 65_536, readableHighWaterMark: 65_536 };
  const request = { complete: false, ...full, socket: { bytesRead: 0 } };
  const pace = watchPace(request as never, clock);
  await clock.advance(3_600_000);
  t.equal(pace.signal.aborted, false);
  request.readableLength = 0;
  await clock.advance(120_000);
  t.equal(pace.signal.aborted, true);
  t.equal(clock.sleepers, 0, 'nobody watches any longer');
});

t.test('a watch that is over wakes nobody', async (t) => {
  const clock = new ManualClock();
  const empty = { readableLength: 0, readableHighWaterMark: 65_536 };
  const request = { complete: false, ...empty, socket: { bytesRead: 0 } };
  const pace = watchPace(request as never, clock);
  pace[Symbol.dispose]();
  await clock.advance(600_000);
  t.equal(pace.signal.aborted, false);
  t.equal(clock.sleepers, 0);
});

t.test('many slow clients keep nobody else from being served', async (t) => {
  const sockets = await Promise.all(
    Array.from({ length: 200 }, () => server.connect(`${JSONL}content-length: 1000\r\n`)),
  );
  const health = await fetch(`${server.url}/livez`);
  t.equal(health.status, 200);
  for (const socket of sockets) socket.destroy();
  await nothingIsLeft(server, await server.stored());
  t.match(await server.post(questions(2)), { status: 201 });
});

t.test('headers without an end are ended by Node itself', async (t) => {
  const http = await createHttpServer({
    services: server.services,
    version: '0.0.0',
    log: pino({ level: 'silent' }),
    isLoopback: true,
  });
  t.teardown(() => http.close());
  t.equal(http.server.headersTimeout, 60_000);
});
