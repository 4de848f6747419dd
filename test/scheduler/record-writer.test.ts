import t, { type Test } from 'tap';
import type { Lease } from '../../src/domain/chunk.ts';
import type { NewRecord } from '../../src/domain/record.ts';
import { RagmillError } from '../../src/errors.ts';
import { createMetrics } from '../../src/metrics.ts';
import { RecordWriter } from '../../src/scheduler/record-writer.ts';
import { StoreTrouble } from '../../src/scheduler/store-trouble.ts';
import type { LeasedChunk } from '../../src/scheduler/work.ts';
import type { Store } from '../../src/store/store.ts';
import { chunk, options, record } from '../fakes/batch-fixtures.ts';
import { ManualClock } from '../fakes/manual-clock.ts';
import { recordingLog } from '../fakes/recording-log.ts';
import { altered, scratchStore } from '../fakes/scratch-store.ts';
import { until } from '../fakes/until.ts';
import { leasedChunk } from '../fakes/work-fixtures.ts';

const store = await scratchStore(t);
let batches = 0;

/** Chunks of a new batch, leased, with so many lines each. */
async function leased(...lineCounts: readonly number[]): Promise<LeasedChunk[]> {
  batches += 1;
  const id = `b${batches}`;
  await store.beginUpload(id, null);
  let firstLine = 1;
  for (const [number, count] of lineCounts.entries()) {
    await store.appendChunk(id, chunk(number, firstLine, count));
    firstLine += count;
  }
  await store.commitUpload(id, { options, metadata: null, inputBytes: 1, requestHash: null });
  const chunks: LeasedChunk[] = [];
  for (const openLines of lineCounts) {
    const claimed = await store.claimChunk(id);
    if (!claimed) throw new Error('nothing to claim');
    chunks.push({ ...leasedChunk(id, openLines), lease: claimed.lease });
  }
  return chunks;
}

interface Stored {
  readonly chunk: LeasedChunk;
  readonly lines: readonly number[];
  readonly status: string;
}

function setup(t: Test, methods: Partial<Store> = {}) {
  const clock = new ManualClock();
  const { log, lines: logLines } = recordingLog();
  const stored: Stored[] = [];
  const stale: LeasedChunk[] = [];
  const metrics = createMetrics('test');
  const writer = new RecordWriter({
    store: altered(store, methods),
    metrics,
    clock,
    log,
    trouble: new StoreTrouble(log),
    onStored: (chunk, records, status) =>
      stored.push({ chunk, lines: records.map(({ line }) => line), status }),
    onPassagesStored: () => {},
    onStale: (chunk) => stale.push(chunk),
  });
  t.teardown(() => writer.stop());
  return { writer, clock, stored, stale, logLines, metrics };
}

const linesOf = async ({ lease }: LeasedChunk) =>
  (await store.readRecords(lease.batchId, { afterSeq: 0, limit: 1000, currentOnly: false })).map(
    ({ line }) => line,
  );

t.test('what ends together is written together, and told when it is on the disk', async (t) => {
  const writes: number[] = [];
  const { writer, stored } = setup(t, {
    appendRecords: (lease: Lease, records: readonly NewRecord[]) => {
      writes.push(records.length);
      return store.appendRecords(lease, records, new Map());
    },
  });
  const [first, second] = (await leased(3, 2)) as [LeasedChunk, LeasedChunk];
  for (const line of [2, 1]) writer.add(first, record(line), new Map());
  writer.add(second, record(4), new Map());
  writer.add(first, record(3), new Map());
  t.equal(stored.length, 0);
  await until('both chunks to be stored', () => stored.length === 2);
  t.same(writes, [3, 1]);
  t.same((await linesOf(first)).sort(), [1, 2, 3, 4]);
  t.match(stored, [
    { chunk: first, lines: [2, 1, 3], status: 'in_progress' },
    { chunk: second, lines: [4], status: 'in_progress' },
  ]);
  writer.add(second, record(5), new Map());
  await until('the last line', () => stored.length === 3);
  t.equal(stored.at(-1)?.status, 'completed');
});

t.test('a lost lease writes nothing, and is told and counted', async (t) => {
  const { writer, stale, stored, metrics } = setup(t);
  const [chunk] = (await leased(2)) as [LeasedChunk];
  await store.releaseChunk(chunk.lease);
  writer.add(chunk, record(1), new Map());
  await until('it to be found out', () => stale.length === 1);
  t.equal(stale[0], chunk);
  t.equal(stored.length, 0);
  t.same(await linesOf(chunk), []);
  t.equal((await metrics.staleWrites.get()).values[0]?.value, 1);
});

t.test('while the disk is full nothing is lost, and it is tried every second', async (t) => {
  let isFull = true;
  let tries = 0;
  const { writer, clock, stored, logLines } = setup(t, {
    appendRecords: (lease: Lease, records: readonly NewRecord[]) => {
      tries += 1;
      return isFull
        ? Promise.reject(new RagmillError('storage_full', 'The disk is full.'))
        : store.appendRecords(lease, records, new Map());
    },
  });
  const [chunk] = (await leased(2)) as [LeasedChunk];
  writer.add(chunk, record(1), new Map());
  await until('the first try to have failed', () => clock.sleepers === 1);
  await clock.advance(999);
  t.equal(tries, 1);
  await clock.advance(1);
  t.equal(tries, 2);
  writer.add(chunk, record(2), new Map());
  await until('the second record to wait too', () => clock.sleepers === 2);
  t.equal(stored.length, 0);
  t.match(logLines, [{ code: 'storage_full' }]);
  isFull = false;
  await clock.advance(1_000);
  await until('both to be stored', () => stored.length === 2);
  t.same((await linesOf(chunk)).sort(), [1, 2]);
});

t.test('stop() writes what was handed over just before', async (t) => {
  const { writer, stored } = setup(t);
  const [chunk] = (await leased(2)) as [LeasedChunk];
  writer.add(chunk, record(1), new Map());
  writer.add(chunk, record(2), new Map());
  await writer.stop();
  t.match(stored, [{ lines: [1, 2], status: 'completed' }]);
  await writer.stop();
  t.equal(stored.length, 1);
});

t.test('stop() gives up what the disk refuses, and leaves no timer', async (t) => {
  let tries = 0;
  const { writer, clock, stored } = setup(t, {
    appendRecords: () => {
      tries += 1;
      return Promise.reject(new RagmillError('storage_full', 'The disk is full.'));
    },
  });
  const [chunk] = (await leased(2)) as [LeasedChunk];
  writer.add(chunk, record(1), new Map());
  await until('the first try to have failed', () => clock.sleepers === 1);
  writer.add(chunk, record(2), new Map());
  await writer.stop();
  t.equal(clock.sleepers, 0);
  t.equal(tries, 3, 'once more for the one, once for the other');
  t.equal(stored.length, 0);
});

t.test(
  'a record that the store can never take ends its line as one that it takes, and costs no other',
  async (t) => {
    const isBroken = (records: readonly NewRecord[]) =>
      records.some(({ promptTokens }) => promptTokens === 666);
    const { writer, clock, stored } = setup(t, {
      appendRecords: async (lease, records, passages) => {
        if (isBroken(records)) throw new RagmillError('internal_error', 'cannot store REAL value');
        return store.appendRecords(lease, records, passages);
      },
    });
    const [chunk] = await leased(3);
    if (!chunk) throw new Error('nothing leased');
    for (const line of [1, 2, 3]) {
      writer.add(chunk, { ...record(line), promptTokens: line === 2 ? 666 : 1 }, new Map());
    }
    await until('all three lines to have a record', async () => {
      await clock.advance(1_000);
      return stored.flatMap(({ lines }) => lines).length === 3;
    });
    const page = { afterSeq: 0, limit: 9, currentOnly: false };
    const log = await store.readRecords(chunk.lease.batchId, page);
    t.same(log.map(({ line, status }) => [line, status]).sort(), [
      [1, 'succeeded'],
      [2, 'failed'],
      [3, 'succeeded'],
    ]);
    t.match(JSON.parse(log.find(({ line }) => line === 2)?.body ?? ''), {
      custom_id: 'q2',
      error: { code: 'internal_error' },
    });
  },
);
