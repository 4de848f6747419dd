// Files on the wire: uploads that break off, readers that go away, and what is read while it grows.

import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import { fileLine } from '../../src/scheduler/file-line.ts';
import type { Store } from '../../src/store/store.ts';
import { chunk, options, record } from '../fakes/batch-fixtures.ts';
import { ask, pausedReader } from '../fakes/http-ask.ts';
import { startIntake } from '../fakes/intake-server.ts';
import { altered, scratchStore } from '../fakes/scratch-store.ts';
import { until } from '../fakes/until.ts';

const store = await scratchStore(t);
const open = new Set<string>();
const pieces: number[] = [];
let pagesRead = 0;
/** Before each page of results. */
let beforePage = async (): Promise<unknown> => null;
const watched = altered(store, {
  async beginFile(id) {
    open.add(id);
    return store.beginFile(id);
  },
  async appendFilePiece(id, number, bytes) {
    pieces.push(bytes.length);
    return store.appendFilePiece(id, number, bytes);
  },
  async commitFile(id, file) {
    const committed = await store.commitFile(id, file);
    open.delete(id);
    return committed;
  },
  async abandonFile(id) {
    await store.abandonFile(id);
    open.delete(id);
  },
  async readFilePiece(id, number) {
    pagesRead += 1;
    return store.readFilePiece(id, number);
  },
  async readResponses(id, page) {
    pagesRead += 1;
    await beforePage();
    return store.readResponses(id, page);
  },
});
const server = await startIntake(t, { store: watched as typeof store });

const files = async () =>
  (await store.listFiles({ purpose: null, after: null, limit: 1000, order: 'asc' })).files.length;

async function upload(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const form = new FormData();
  form.append('file', new Blob([bytes]), 'a.jsonl');
  form.append('purpose', 'batch');
  const answer = await fetch(`${server.url}/v1/files`, { method: 'POST', body: form });
  return ((await answer.json()) as { id: string }).id;
}

t.test('a file is stored in pieces of a MiB, and the purpose may stand behind it', async (t) => {
  pieces.length = 0;
  const id = await upload(new Uint8Array(2_500_000));
  t.same(pieces, [1_048_576, 1_048_576, 402_848]);
  t.match(await store.getFile(id), { bytes: 2_500_000 });
});

t.test('an upload that breaks off leaves nothing, wherever that happens', async (t) => {
  const before = await files();
  const part = (head: string) => `--cut\r\ncontent-disposition: form-data; ${head}\r\n\r\n`;
  const body = Buffer.from(
    `${part('name="purpose"')}batch\r\n${part('name="file"; filename="a.jsonl"')}${'x'.repeat(3_000_000)}\r\n--cut--\r\n`,
  );
  const { port } = new URL(server.url);
  for (const length of [0, 40, 120, 200, 5000, 1_100_000, body.length - 12, body.length - 3]) {
    const socket = connect(Number(port), '127.0.0.1');
    await once(socket, 'connect');
    socket.on('error', () => {});
    socket.write(
      `POST /v1/files HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: multipart/form-data; boundary=cut\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    await new Promise((resolve) => socket.write(body.subarray(0, length), resolve));
    socket.destroy();
    await until('the upload to be given up', () => open.size === 0);
  }
  t.equal(await files(), before);
});

t.test('whatever a client accepts, it gets the bytes', async (t) => {
  const id = await upload(new TextEncoder().encode('{"a":1}\n'));
  for (const accept of ['application/binary', 'text/html', 'application/json', '*/*;q=0']) {
    const answer = await ask(`${server.url}/v1/files/${id}/content`, { headers: { accept } });
    t.equal(answer.status, 200);
    t.equal(answer.headers['content-type'], 'application/octet-stream');
    t.ok(answer.headers['x-request-id']);
    t.equal(answer.body.toString(), '{"a":1}\n');
    t.ok(answer.isWhole);
  }
});

/** A batch of a file, with this many lines that have succeeded, of this size each, and some that are open. */
async function answeredBatch(id: string, lines: number, bytes: number, openLines = 1) {
  const inputFileId = await upload(new TextEncoder().encode('{}'));
  await store.createFileBatch(id, {
    inputFileId,
    endpoint: '/v1/chat/completions',
    options,
    metadata: null,
    outputLifeSeconds: null,
  });
  await store.appendChunk(id, chunk(0, 1, lines + openLines));
  await store.passValidation(id, 2);
  const claimed = await store.claimChunk(id);
  if (!claimed) throw new Error('nothing to claim');
  const records = Array.from({ length: lines }, (_, index) => answered(index + 1, bytes));
  await store.appendRecords(claimed.lease, records, new Map());
  return {
    records,
    append: (line: number) => store.appendRecords(claimed.lease, [answered(line, bytes)], new Map()),
  };
}

function answered(line: number, bytes: number) {
  const made = record(line);
  const result = {
    ...JSON.parse(made.body),
    citations: [],
    rag: null,
    generation: null,
    usage: null,
    error: null,
  };
  const response = { status: 200, body: JSON.stringify({ text: 'x'.repeat(bytes) }) };
  return { ...made, body: JSON.stringify(result), response };
}

t.test('the results of a running batch are what is there, in whole lines', async (t) => {
  const id = `batch_${'a'.repeat(24)}`;
  const { records } = await answeredBatch(id, 600, 20);
  const batch = await store.getBatch(id);
  if (!batch) throw new Error('no batch');
  const answer = await ask(`${server.url}/v1/files/file-output-${'a'.repeat(24)}/content`);
  t.ok(answer.isWhole);
  t.equal(
    answer.body.toString(),
    records.map(({ body, response }) => fileLine(JSON.parse(body), response, batch)).join(''),
  );
});

t.test('the reading of a batch that goes on answering ends with what was there at first', async (t) => {
  const hash = 'c'.repeat(24);
  const { append } = await answeredBatch(`batch_${hash}`, 300, 20, 1000);
  let line = 300;
  beforePage = () => {
    line += 1;
    return append(line);
  };
  t.teardown(() => {
    beforePage = async () => null;
  });
  const answer = await ask(`${server.url}/v1/files/file-output-${hash}/content`);
  t.ok(answer.isWhole);
  const read = answer.body.toString().trimEnd().split('\n').length;
  t.ok(read >= 300 && read < 310, `${read} lines`);
});

t.test('a reader that takes nothing is waited for, and one that goes away ends the reading', async (t) => {
  const hash = 'b'.repeat(24);
  await answeredBatch(`batch_${hash}`, 3000, 20_000);
  const large = await upload(new Uint8Array(60_000_000));
  const streams = async () => (await server.services.metrics.resultStreams.get()).values[0]?.value ?? 0;
  for (const id of [`file-output-${hash}`, large]) {
    pagesRead = 0;
    const reader = await pausedReader(`${server.url}/v1/files/${id}/content`);
    await until('the reading to stand still', async () => {
      const read = pagesRead;
      await new Promise((resolve) => setImmediate(resolve));
      return read > 0 && pagesRead === read;
    });
    const whole = await reader.rest();
    t.ok(whole.isWhole);
    t.ok(whole.body.length >= 60_000_000);

    const atTheWhole = pagesRead;
    pagesRead = 0;
    await ask(`${server.url}/v1/files/${id}/content`, { cutAfter: 1000 });
    await until('the reader to be let go', async () => (await streams()) === 0);
    t.ok(pagesRead < atTheWhole / 2, `${pagesRead} of ${atTheWhole}`);
  }
});

t.test('a file that goes while it is read does not end as if it were whole', async (t) => {
  const id = await upload(new Uint8Array(60_000_000));
  const reader = await pausedReader(`${server.url}/v1/files/${id}/content`);
  await (watched as Store).deleteFile(id);
  t.notOk((await reader.rest()).isWhole);
});
