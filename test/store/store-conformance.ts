// What every store must do, whatever it is made of. One suite, run against each engine.

import type { Test } from 'tap';
import type { Lease } from '../../src/domain/chunk.ts';
import type { Store } from '../../src/store/store.ts';
import { chunk, options, record } from '../fakes/batch-fixtures.ts';
import type { ManualClock } from '../fakes/manual-clock.ts';

export interface StoreUnderTest {
  readonly store: Store;
  readonly clock: ManualClock;
}

async function uploaded(
  store: Store,
  id: string,
  chunks: readonly (readonly [number, number])[],
): Promise<void> {
  await store.beginUpload(id, null);
  for (const [number, [firstLine, count]] of chunks.entries()) {
    await store.appendChunk(id, chunk(number, firstLine, count));
  }
  await store.commitUpload(id, { options, metadata: { team: 'search' }, inputBytes: 99, requestHash: null });
}

async function claimed(store: Store, id: string) {
  const found = await store.claimChunk(id);
  if (!found) throw new Error(`nothing to claim in ${id}`);
  return found;
}

const sumOf = (counts: object) => Object.values(counts).reduce((sum, count) => sum + count, 0);

/** `open` gives a fresh, empty store and closes it with the test. */
export function storeConformance(t: Test, open: (t: Test) => Promise<StoreUnderTest>): void {
  t.test('an upload is invisible until its commit', async (t) => {
    const { store } = await open(t);
    await store.beginUpload('b1', null);
    await store.appendChunk('b1', chunk(0, 1, 3));
    t.equal(await store.getBatch('b1'), null);
    t.same((await store.listBatches({ after: null, limit: 10 })).batches, []);
    t.same(await store.activeBatches(), []);
    t.equal(await store.claimChunk('b1'), null);
    const batch = await store.commitUpload('b1', {
      options,
      metadata: null,
      inputBytes: 99,
      requestHash: null,
    });
    t.match(batch, { id: 'b1', status: 'in_progress', total: 3, inputBytes: 99, lastSeq: 0 });
    t.same(batch.lineCounts, { queued: 3, leased: 0, succeeded: 0, failed: 0, cancelled: 0, expired: 0 });
  });

  t.test('an abandoned upload leaves nothing, and cannot be committed', async (t) => {
    const { store } = await open(t);
    await store.beginUpload('b1', null);
    await store.appendChunk('b1', chunk(0, 1, 3));
    await store.abandonUpload('b1');
    await t.rejects(store.commitUpload('b1', { options, metadata: null, inputBytes: 1, requestHash: null }), {
      code: 'upload_incomplete',
    });
    await store.abandonUpload('b1');
    await store.abandonUpload('never begun');
  });

  t.test('an upload without lines is refused', async (t) => {
    const { store } = await open(t);
    await store.beginUpload('b1', null);
    await t.rejects(store.commitUpload('b1', { options, metadata: null, inputBytes: 0, requestHash: null }), {
      code: 'empty_upload',
    });
  });

  t.test('a claimed chunk brings its lines back as they were uploaded', async (t) => {
    const { store } = await open(t);
    await store.beginUpload('b1', null);
    const problems = [{ line: 2, code: 'line_not_json', message: 'no' }];
    await store.appendChunk('b1', { ...chunk(0, 1, 3), problems });
    await store.commitUpload('b1', { options, metadata: null, inputBytes: 1, requestHash: null });
    const found = await claimed(store, 'b1');
    t.equal(found.text.toString(), chunk(0, 1, 3).text.toString());
    t.match(found, { firstLine: 1, problems, finishedLines: [], ending: null });
  });

  t.test('chunks are claimed in order, each once, until their lease runs out', async (t) => {
    const { store, clock } = await open(t);
    await uploaded(store, 'b1', [
      [1, 2],
      [3, 2],
    ]);
    const first = await claimed(store, 'b1');
    const second = await claimed(store, 'b1');
    t.same([first.firstLine, second.firstLine], [1, 3]);
    t.equal(await store.claimChunk('b1'), null);
    t.same((await store.getBatch('b1'))?.lineCounts.leased, 4);
    await clock.advance(15_000);
    t.same(await store.renewLeases([first.lease]), []);
    await clock.advance(15_000);
    const again = await claimed(store, 'b1');
    t.equal(again.firstLine, 3, 'the lease that was not renewed ran out');
    t.ok(again.lease.token > second.lease.token, 'the fencing token grows');
    t.same(await store.renewLeases([first.lease, second.lease, again.lease]), [second.lease]);
    t.same((await store.getBatch('b1'))?.lineCounts.leased, 4);
  });

  t.test('a released chunk can be claimed again, and only its open lines count as queued', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 'b1', [[1, 3]]);
    const first = await claimed(store, 'b1');
    await store.appendRecords(first.lease, [record(2)], new Map());
    await store.releaseChunk(first.lease);
    t.same((await store.getBatch('b1'))?.lineCounts, {
      queued: 2,
      leased: 0,
      succeeded: 1,
      failed: 0,
      cancelled: 0,
      expired: 0,
    });
    t.same((await claimed(store, 'b1')).finishedLines, [2]);
    await store.releaseChunk(first.lease);
    t.same((await store.getBatch('b1'))?.lineCounts.leased, 2, 'a lost lease releases nothing');
  });

  t.test('records get gap-free seqs, and the last one ends the batch', async (t) => {
    const { store, clock } = await open(t);
    await uploaded(store, 'b1', [
      [1, 2],
      [3, 1],
    ]);
    const first = await claimed(store, 'b1');
    const second = await claimed(store, 'b1');
    t.equal(await store.appendRecords(second.lease, [record(3, 'failed')], new Map()), 'in_progress');
    await clock.advance(5_000);
    t.equal(await store.appendRecords(first.lease, [record(2), record(1)], new Map()), 'completed');
    const log = await store.readRecords('b1', { afterSeq: 0, limit: 10, currentOnly: false });
    t.same(
      log.map((entry) => JSON.parse(entry.body)),
      [
        { seq: 1, line: 3, custom_id: 'q3', status: 'failed' },
        { seq: 2, line: 2, custom_id: 'q2', status: 'succeeded' },
        { seq: 3, line: 1, custom_id: 'q1', status: 'succeeded' },
      ],
    );
    const batch = await store.getBatch('b1');
    t.match(batch, { status: 'completed', lastSeq: 3, endedAt: Math.floor(clock.now() / 1000) });
    t.same(batch?.lineCounts, { queued: 0, leased: 0, succeeded: 2, failed: 1, cancelled: 0, expired: 0 });
    t.same(batch?.ragCounts, { success: 3, softFailure: 0, hardFailure: 0 });
    t.same(batch?.usage, { promptTokens: 30, completionTokens: 6, cachedTokens: 3, reasoningTokens: 0 });
    t.same(batch?.collectionGenerations, [1]);
    t.same(await store.activeBatches(), []);
  });

  t.test('a line keeps the record it has', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 'b1', [[1, 2]]);
    const { lease } = await claimed(store, 'b1');
    await store.appendRecords(lease, [record(1), record(1, 'failed')], new Map());
    await store.appendRecords(lease, [record(1, 'failed')], new Map());
    const log = await store.readRecords('b1', { afterSeq: 0, limit: 10, currentOnly: false });
    t.same(
      log.map((entry) => [entry.seq, entry.line, entry.status]),
      [[1, 1, 'succeeded']],
    );
    t.same((await store.getBatch('b1'))?.lineCounts, {
      queued: 0,
      leased: 1,
      succeeded: 1,
      failed: 0,
      cancelled: 0,
      expired: 0,
    });
  });

  t.test('a write under a lost lease changes nothing', async (t) => {
    const { store, clock } = await open(t);
    await uploaded(store, 'b1', [[1, 2]]);
    const lost = await claimed(store, 'b1');
    await clock.advance(60_000);
    const current = await claimed(store, 'b1');
    t.equal(await store.appendRecords(lost.lease, [record(1)], new Map()), 'stale');
    const forged: Lease = { ...current.lease, chunk: 7 };
    t.equal(await store.appendRecords(forged, [record(1)], new Map()), 'stale');
    t.match(await store.getBatch('b1'), { lastSeq: 0, lineCounts: { leased: 2 } });
    t.equal(await store.appendRecords(current.lease, [record(1), record(2)], new Map()), 'completed');
    t.equal(
      await store.appendRecords(current.lease, [record(1)], new Map()),
      'stale',
      'a finished chunk has no lease',
    );
  });

  t.test('cancelling voids every lease; the open lines are claimed once more, to be recorded', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 'b1', [[1, 3]]);
    const before = await claimed(store, 'b1');
    await store.appendRecords(before.lease, [record(1)], new Map());
    t.match(await store.requestCancel('b1'), { status: 'cancelling', lineCounts: { leased: 0, queued: 2 } });
    t.equal(await store.appendRecords(before.lease, [record(2)], new Map()), 'stale');
    const after = await claimed(store, 'b1');
    t.match(after, { ending: 'cancelled', finishedLines: [1] });
    t.equal(
      await store.appendRecords(after.lease, [record(2, 'cancelled'), record(3, 'cancelled')], new Map()),
      'cancelled',
    );
    t.match(await store.getBatch('b1'), { status: 'cancelled', lineCounts: { succeeded: 1, cancelled: 2 } });
    t.match(await store.requestCancel('b1'), { status: 'cancelled' }, 'an ended batch stays as it is');
    t.equal(await store.requestCancel('unknown'), null);
  });

  t.test('lists go from the newest to the oldest, page by page', async (t) => {
    const { store } = await open(t);
    for (const id of ['b1', 'b2', 'b3']) await uploaded(store, id, [[1, 1]]);
    const first = await store.listBatches({ after: null, limit: 2 });
    t.same([first.batches.map((batch) => batch.id), first.hasMore], [['b3', 'b2'], true]);
    const second = await store.listBatches({ after: 'b2', limit: 2 });
    t.same([second.batches.map((batch) => batch.id), second.hasMore], [['b1'], false]);
    await t.rejects(store.listBatches({ after: 'unknown', limit: 2 }), { code: 'batch_not_found' });
    t.same(
      (await store.activeBatches()).map((batch) => batch.id),
      ['b1', 'b2', 'b3'],
    );
  });

  t.test('any split of the log by its cursor is the whole log', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 'b1', [[1, 5]]);
    const { lease } = await claimed(store, 'b1');
    await store.appendRecords(
      lease,
      [4, 2, 5, 1, 3].map((line) => record(line)),
      new Map(),
    );
    const whole = await store.readRecords('b1', { afterSeq: 0, limit: 100, currentOnly: false });
    for (let cut = 0; cut <= 5; cut += 1) {
      const head = await store.readRecords('b1', { afterSeq: 0, limit: cut, currentOnly: false });
      const tail = await store.readRecords('b1', { afterSeq: cut, limit: 100, currentOnly: false });
      t.same([...head, ...tail], whole);
    }
    await t.rejects(store.readRecords('unknown', { afterSeq: 0, limit: 1, currentOnly: false }), {
      code: 'batch_not_found',
    });
  });

  t.test('input order ends at the first line without a record, or passes over it', async (t) => {
    const { store } = await open(t);
    // Line 4 of the upload was blank, so the batch has no line 4.
    await uploaded(store, 'b1', [
      [1, 3],
      [5, 2],
    ]);
    const first = await claimed(store, 'b1');
    const second = await claimed(store, 'b1');
    const read = async (afterLine: number, stopAtGap: boolean) => {
      const page = await store.readRecordsInInputOrder('b1', { afterLine, limit: 100, stopAtGap });
      return page.map((entry) => entry.line);
    };
    await store.appendRecords(second.lease, [record(5)], new Map());
    await store.appendRecords(first.lease, [record(2)], new Map());
    t.same(await read(0, true), []);
    t.same(await read(0, false), [2, 5]);
    await store.appendRecords(first.lease, [record(1)], new Map());
    t.same(await read(0, true), [1, 2]);
    await store.appendRecords(first.lease, [record(3)], new Map());
    t.same(await read(0, true), [1, 2, 3, 5], 'a blank line is no gap');
    t.same(await read(3, true), [5]);
    await store.appendRecords(second.lease, [record(6)], new Map());
    t.same(await read(2, true), [3, 5, 6]);
  });

  t.test('blank lines within a chunk are no lines of the batch', async (t) => {
    const { store } = await open(t);
    await store.beginUpload('b1', null);
    const text = Buffer.from('one\n\n\nfour\nfive');
    await store.appendChunk('b1', {
      number: 0,
      firstLine: 1,
      lineCount: 3,
      blankLines: [2, 3],
      text,
      problems: [],
    });
    const batch = await store.commitUpload('b1', {
      options,
      metadata: null,
      inputBytes: 1,
      requestHash: null,
    });
    t.equal(batch.total, 3);
    const { lease } = await claimed(store, 'b1');
    const read = async () =>
      (await store.readRecordsInInputOrder('b1', { afterLine: 0, limit: 9, stopAtGap: true })).map(
        ({ line }) => line,
      );
    await store.appendRecords(lease, [record(4), record(1)], new Map());
    t.same(await read(), [1, 4], 'they are no gap');
    await store.releaseChunk(lease);
    const again = await claimed(store, 'b1');
    t.same(new Set(again.finishedLines), new Set([1, 4]));
    t.equal(await store.appendRecords(again.lease, [record(5)], new Map()), 'completed');
    t.same(await read(), [1, 4, 5]);
  });

  t.test('watchers are told of every change of their batch', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 'b1', [[1, 2]]);
    let calls = 0;
    const unwatch = store.watch('b1', () => {
      calls += 1;
    });
    const { lease } = await claimed(store, 'b1');
    await store.appendRecords(lease, [record(1)], new Map());
    t.equal(calls, 1);
    await store.requestCancel('b1');
    t.equal(calls, 2);
    await store.appendRecords(lease, [record(2)], new Map());
    t.equal(calls, 2, 'a stale write changes nothing');
    unwatch();
    unwatch();
    await store.requestCancel('b1');
    t.equal(calls, 2);
  });

  t.test('only the newest rank 0 records a collection', async (t) => {
    const { store } = await open(t);
    t.equal(await store.currentCollection(), null);
    const first = (await store.acquireRankZero()) ?? 0;
    const built = { uuid: 'u1', name: 'ragmill', count: 7, fingerprint: 'f' };
    t.match(await store.recordReady(first, built), { generation: 1, uuid: 'u1' });
    const second = (await store.acquireRankZero()) ?? 0;
    t.ok(second > first);
    await t.rejects(store.recordReady(first, built), { code: 'rank_lost' });
    t.match(await store.recordReady(second, { ...built, uuid: 'u2' }), { generation: 2 });
    t.match(await store.currentCollection(), { generation: 2, uuid: 'u2', count: 7, fingerprint: 'f' });
  });

  t.test('one failing operation costs its neighbours nothing', async (t) => {
    const { store } = await open(t);
    await store.beginUpload('b1', null);
    const results = await Promise.allSettled([
      store.appendChunk('b1', chunk(0, 1, 1)),
      store.appendChunk('unknown', chunk(0, 1, 1)),
      store.appendChunk('b1', chunk(1, 2, 1)),
      store.beginUpload('b1', null),
    ]);
    t.same(
      results.map((result) => result.status),
      ['fulfilled', 'rejected', 'fulfilled', 'rejected'],
    );
    const batch = await store.commitUpload('b1', {
      options,
      metadata: null,
      inputBytes: 1,
      requestHash: null,
    });
    t.equal(batch.total, 2);
    t.equal(sumOf(batch.lineCounts), 2);
  });
}
