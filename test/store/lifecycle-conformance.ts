// What every store must do with the life of a batch: pauses, deadlines, retries, deletion, start marks.

import type { Test } from 'tap';
import type { BatchOptions } from '../../src/domain/options.ts';
import type { KeptPassage, RecordStatus } from '../../src/domain/record.ts';
import type { RetryFilter, Store } from '../../src/store/store.ts';
import { chunk, options, record } from '../fakes/batch-fixtures.ts';
import type { StoreUnderTest } from './store-conformance.ts';

const NONE = new Map<string, KeptPassage>();
const UNSUCCESSFUL: RetryFilter = {
  statuses: ['failed', 'cancelled', 'expired'],
  code: null,
  endpoint: null,
  customIds: null,
};

async function uploaded(
  store: Store,
  lines: number,
  changes: Partial<BatchOptions> = {},
  id = 'b1',
): Promise<void> {
  await store.beginUpload(id, null);
  for (let [number, first] = [0, 1]; first <= lines; number += 1, first += 4) {
    await store.appendChunk(id, chunk(number, first, Math.min(4, lines - first + 1)));
  }
  await store.commitUpload(id, {
    options: { ...options, ...changes },
    metadata: null,
    inputBytes: 1,
    requestHash: null,
  });
}

async function claimed(store: Store, id = 'b1') {
  const found = await store.claimChunk(id);
  if (!found) throw new Error(`nothing to claim in ${id}`);
  return found;
}

/** Runs every open line; what a line's end is says `ending`. */
async function runAll(
  store: Store,
  ending: (line: number) => RecordStatus = () => 'succeeded',
): Promise<string> {
  let status = 'nothing was open';
  for (let found = await store.claimChunk('b1'); found; found = await store.claimChunk('b1')) {
    const done = new Set(found.finishedLines);
    const lines = Array.from({ length: 4 }, (_, index) => found.firstLine + index).filter(
      (line) => line < found.firstLine + found.text.toString().split('\n').length && !done.has(line),
    );
    status = await store.appendRecords(
      found.lease,
      lines.map((line) => record(line, ending(line))),
      NONE,
    );
  }
  return status;
}

const log = async (store: Store, currentOnly = false) =>
  (await store.readRecords('b1', { afterSeq: 0, limit: 1000, currentOnly })).map((entry) =>
    JSON.parse(entry.body),
  );

/** `open` gives a fresh, empty store and closes it with the test. */
export function lifecycleConformance(t: Test, open: (t: Test) => Promise<StoreUnderTest>): void {
  t.test('a paused batch gives out no chunks, takes the records of started lines, and resumes', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 8);
    const first = await claimed(store);
    t.match(await store.pauseBatch('b1'), { status: 'paused', pauseReason: { code: 'requested' } });
    t.equal(await store.claimChunk('b1'), null);
    t.same(await store.activeBatches(), []);
    t.equal(await store.appendRecords(first.lease, [record(1)], NONE), 'paused');
    t.match(await store.pauseBatch('b1'), { status: 'paused' }, 'a second pause changes nothing');
    await store.releaseChunk(first.lease);
    t.match(await store.getBatch('b1'), { lineCounts: { queued: 7, leased: 0, succeeded: 1 } });
    t.match(await store.resumeBatch('b1'), { status: 'in_progress', pauseReason: null });
    t.equal(await runAll(store), 'completed');
    t.match(await store.pauseBatch('b1'), { status: 'completed' }, 'what has ended stays so');
    t.equal(await store.pauseBatch('unknown'), null);
  });

  t.test('a paused batch whose last lines were running is complete', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 2);
    const { lease } = await claimed(store);
    await store.pauseBatch('b1');
    t.equal(await store.appendRecords(lease, [record(1), record(2)], NONE), 'completed');
    t.match(await store.getBatch('b1'), { status: 'completed', pauseReason: null });
  });

  t.test('pause_after tells how many lines may run, and pauses when they have', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 8, { pauseAfter: 3 });
    const first = await claimed(store);
    t.equal(first.runnableLines, 3);
    t.equal(await store.appendRecords(first.lease, [record(1), record(2)], NONE), 'in_progress');
    await store.releaseChunk(first.lease);
    const again = await claimed(store);
    t.equal(again.runnableLines, 1);
    t.equal(await store.appendRecords(again.lease, [record(3)], NONE), 'paused');
    t.match(await store.getBatch('b1'), { pauseReason: { code: 'pause_after' } });
    await store.releaseChunk(again.lease);
    await store.resumeBatch('b1');
    t.equal((await claimed(store)).runnableLines, null, 'the stop was made');
  });

  t.test('bad input is no failure that pauses; max_failures counts anew after a resume', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 8, { maxFailures: 2 });
    const { lease } = await claimed(store);
    const bad = { ...record(1, 'failed'), stage: 'input' as const };
    t.equal(await store.appendRecords(lease, [bad, record(2, 'failed')], NONE), 'in_progress');
    t.equal(await store.appendRecords(lease, [record(3, 'failed')], NONE), 'paused');
    t.match((await store.getBatch('b1'))?.pauseReason, { code: 'max_failures', message: /line 3/ });
    await store.resumeBatch('b1');
    t.equal(await store.appendRecords(lease, [record(4, 'failed')], NONE), 'in_progress');
  });

  t.test('expiry voids the leases, and the open lines get their records', async (t) => {
    const { store, clock } = await open(t);
    await uploaded(store, 3, { completionWindow: '2m' });
    const expiresAt = Math.floor(clock.now() / 1000) + 120;
    t.same(await store.expiringBatches(), [{ id: 'b1', expiresAt }]);
    const before = await claimed(store);
    await store.appendRecords(before.lease, [record(1)], NONE);
    t.match(await store.requestExpiry('b1'), { status: 'finalizing', expiresAt });
    t.equal(await store.appendRecords(before.lease, [record(2)], NONE), 'stale');
    t.match(await store.requestCancel('b1'), { status: 'finalizing' }, 'a cancel comes too late');
    t.match(await store.activeBatches(), [{ id: 'b1', ending: 'expired' }]);
    t.equal(await runAll(store, () => 'expired'), 'expired');
    t.match(await store.getBatch('b1'), {
      status: 'expired',
      lineCounts: { succeeded: 1, expired: 2, queued: 0 },
    });
    t.same(await store.expiringBatches(), []);
  });

  t.test(
    'a retry appends: what it replaces it names, and a success is never replaced by a failure',
    async (t) => {
      const { store } = await open(t);
      await uploaded(store, 6);
      await runAll(store, (line) => (line % 2 === 0 ? 'failed' : 'succeeded'));
      const before = await log(store);
      t.match(await store.retryBatch('b1', UNSUCCESSFUL), {
        status: 'in_progress',
        run: 2,
        endedAt: null,
        lineCounts: { queued: 3, succeeded: 3, failed: 0 },
        ragCounts: { success: 3 },
      });
      t.equal(await runAll(store, (line) => (line === 2 ? 'failed' : 'succeeded')), 'completed');
      const all = { ...UNSUCCESSFUL, statuses: ['succeeded', 'failed'] as const };
      t.match(await store.retryBatch('b1', all), { run: 3, lineCounts: { queued: 6, succeeded: 0 } });
      await runAll(store, () => 'failed');
      const whole = await log(store);
      t.same(whole.slice(0, 6), before, 'the log only grows');
      t.same(
        whole.map((entry) => entry.seq),
        Array.from(whole, (_, index) => index + 1),
      );
      const seqOf = (line: number, run: number) => whole.filter((entry) => entry.line === line)[run - 1]?.seq;
      const replaces = whole.filter((entry) => 'replaces' in entry);
      t.same(
        replaces.map((entry) => [entry.line, entry.replaces]),
        [
          [2, seqOf(2, 1)],
          [4, seqOf(4, 1)],
          [6, seqOf(6, 1)],
          [2, seqOf(2, 2)],
        ],
      );
      t.match(await store.getBatch('b1'), {
        lineCounts: { succeeded: 5, failed: 1 },
        ragCounts: { success: 6 },
      });
      const current = await log(store, true);
      t.same(
        current.map((entry) => [entry.line, entry.status]).sort(),
        [1, 2, 3, 4, 5, 6].map((line) => [line, line === 2 ? 'failed' : 'succeeded']),
      );
    },
  );

  t.test('a retry leaves the chunks that have none of its lines as they ended', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 12);
    await runAll(store);
    const only = (line: number) => ({
      ...UNSUCCESSFUL,
      statuses: ['succeeded'] as const,
      customIds: [`q${line}`],
    });
    await store.retryBatch('b1', only(1));
    const openLines = async () => {
      const lines = Array.from({ length: 12 }, (_, index) => index + 1);
      const histories = await Promise.all(lines.map((line) => store.lineHistory('b1', line)));
      return lines.filter((_, index) => histories[index]?.open !== null);
    };
    t.same(await openLines(), [1]);
    await runAll(store);
    await store.retryBatch('b1', only(9));
    t.same(await openLines(), [9], 'also where an earlier run had opened another chunk');
    t.equal((await claimed(store)).firstLine, 9);
  });

  t.test('a retry takes the lines that match, never bad ones, and without any changes nothing', async (t) => {
    const { store } = await open(t);
    await store.beginUpload('b1', null);
    const problems = [{ line: 2, code: 'line_not_json', message: 'no' }];
    await store.appendChunk('b1', { ...chunk(0, 1, 4), problems });
    await store.commitUpload('b1', { options, metadata: null, inputBytes: 1, requestHash: null });
    const first = await claimed(store);
    await store.appendRecords(
      first.lease,
      [
        { ...record(1), endpoint: 'a' },
        { ...record(2, 'failed'), stage: 'input' },
        { ...record(3, 'failed'), code: 'generation_timeout', endpoint: 'b' },
        { ...record(4, 'failed'), code: 'rag_timeout', stage: 'rag' },
      ],
      NONE,
    );
    const all: RetryFilter = { ...UNSUCCESSFUL, statuses: ['succeeded', 'failed', 'cancelled', 'expired'] };
    const cases: [Partial<RetryFilter>, number][] = [
      [{ code: 'generation_timeout' }, 1],
      [{ endpoint: 'a' }, 1],
      [{ customIds: ['q1', 'q4', 'q2', 'nobody'] }, 2],
      [{}, 3],
      [{ code: 'generation_timeout', endpoint: 'a' }, 0],
      [{ code: 'line_not_json' }, 0],
    ];
    for (const [filter, queued] of cases) {
      const batch = await store.retryBatch('b1', { ...all, ...filter });
      t.match(batch, { status: queued > 0 ? 'in_progress' : 'completed', lineCounts: { queued } });
      if (queued > 0) t.equal(await runAll(store), 'completed');
    }
    await store.retryBatch('b1', all);
    await store.requestCancel('b1');
    await runAll(store, () => 'cancelled');
    t.match(await store.getBatch('b1'), { status: 'cancelled', lineCounts: { succeeded: 3, failed: 1 } });
    t.match(await store.retryBatch('b1', UNSUCCESSFUL), { status: 'cancelled' }, 'the bad line stays bad');
  });

  t.test('a retry waits for the end of the batch, and begins its window anew', async (t) => {
    const { store, clock } = await open(t);
    await uploaded(store, 2, { completionWindow: '1h' });
    t.match(await store.retryBatch('b1', UNSUCCESSFUL), { status: 'in_progress', run: 1 });
    await runAll(store, () => 'failed');
    await clock.advance(7_200_000);
    const expiresAt = Math.floor(clock.now() / 1000) + 3600;
    t.match(await store.retryBatch('b1', UNSUCCESSFUL), { run: 2, expiresAt });
  });

  t.test('input order follows the current records, and waits for lines that run again', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 6);
    await runAll(store, (line) => (line === 3 ? 'failed' : 'succeeded'));
    await store.retryBatch('b1', UNSUCCESSFUL);
    const read = async (stopAtGap: boolean) => {
      const page = await store.readRecordsInInputOrder('b1', { afterLine: 0, limit: 99, stopAtGap });
      return page.map((entry) => [entry.line, entry.status]);
    };
    const done = (line: number, status = 'succeeded') => [line, status];
    t.same(await read(true), [done(1), done(2)]);
    t.same(await read(false), [done(1), done(2), done(3, 'failed'), done(4), done(5), done(6)]);
    await runAll(store);
    t.same(
      await read(true),
      [1, 2, 3, 4, 5, 6].map((line) => done(line)),
    );
  });

  t.test('only an ended batch can be deleted; then it is gone, and remembered as deleted', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 2);
    t.equal(await store.deleteBatch('b1'), 'not_finished');
    await runAll(store);
    t.equal(await store.deleteBatch('b1'), 'deleted');
    t.equal(await store.getBatch('b1'), null);
    t.equal(await store.wasDeleted('b1'), true);
    t.equal(await store.wasDeleted('unknown'), false);
    t.equal(await store.deleteBatch('b1'), null);
    t.same((await store.listBatches({ after: null, limit: 9 })).batches, []);
    await t.rejects(store.readRecords('b1', { afterSeq: 0, limit: 1, currentOnly: false }), {
      code: 'batch_not_found',
    });
    t.equal(await store.retryBatch('b1', UNSUCCESSFUL), null);
  });

  t.test('batches that ended long enough ago are found', async (t) => {
    const { store, clock } = await open(t);
    await uploaded(store, 1);
    await runAll(store);
    const endedAt = Math.floor(clock.now() / 1000);
    t.same(await store.endedBatches(endedAt), []);
    t.same(await store.endedBatches(endedAt + 1), ['b1']);
  });

  t.test('a started line of a lost lease is refused its mark', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 2);
    const { lease } = await claimed(store);
    t.equal(await store.markStarted(lease, [1]), true);
    await store.requestCancel('b1');
    t.equal(await store.markStarted(lease, [2]), false);
  });

  t.test('the log can be found by its bytes', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 6);
    await runAll(store);
    const lines = (await store.readRecords('b1', { afterSeq: 0, limit: 99, currentOnly: false })).map(
      ({ body }) => `${body}\n`,
    );
    const bytes = Buffer.from(lines.join(''));
    t.same(await store.logEnd('b1'), { lastSeq: 6, bytes: bytes.length });
    for (let offset = 0; offset < bytes.length; offset += 1) {
      const { seq, startOffset } = await store.seekLog('b1', offset);
      const start = Buffer.byteLength(lines.slice(0, seq - 1).join(''));
      if (
        startOffset !== start ||
        offset < start ||
        offset >= start + Buffer.byteLength(lines[seq - 1] ?? '')
      ) {
        t.fail(`byte ${offset} was found in record ${seq} from ${startOffset}`);
      }
    }
  });

  t.test('the upload can be read back, by the status of its lines', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 6);
    const whole = async (status: 'succeeded' | 'failed' | null) => {
      const lines: number[] = [];
      for (let afterLine = 0; ; ) {
        const page = await store.readInput('b1', { afterLine, status });
        if (!page) return lines;
        for (const { line, bytes } of page.lines) {
          lines.push(line);
          t.equal(JSON.parse(bytes.toString()).custom_id, `q${line}`);
        }
        afterLine = page.lastLine;
      }
    };
    t.same(await whole(null), [1, 2, 3, 4, 5, 6]);
    t.same(await whole('failed'), [], 'an open line has not failed');
    await runAll(store, (line) => (line > 4 ? 'failed' : 'succeeded'));
    t.same(await whole('failed'), [5, 6]);
    t.same(await whole('succeeded'), [1, 2, 3, 4]);
  });

  t.test('a line tells its whole history, with the passages it was asked with', async (t) => {
    const { store } = await open(t);
    await uploaded(store, 2);
    t.match(await store.lineHistory('b1', 2), { open: 'queued', records: [] });
    const { lease } = await claimed(store);
    t.match(await store.lineHistory('b1', 2), { open: 'leased' });
    const passage = { documentId: 'd', chunk: 0, title: null, source: null, text: 'words' };
    const details = { attempts: [], passages: ['h1'], promptHash: 'p', model: 'm' };
    await store.appendRecords(lease, [{ ...record(2, 'failed'), details }], new Map([['h1', passage]]));
    await store.appendRecords(lease, [record(1)], NONE);
    await store.retryBatch('b1', UNSUCCESSFUL);
    await runAll(store);
    const history = await store.lineHistory('b1', 2);
    t.match(history, {
      open: null,
      records: [
        { run: 1, isCurrent: false, details },
        { run: 2, isCurrent: true },
      ],
    });
    t.equal(JSON.parse(String(history?.input)).custom_id, 'q2');
    t.same([...(await store.readPassages('b1', ['h1', 'h2']))], [['h1', passage]]);
    t.equal(await store.lineHistory('b1', 3), null);
  });

  t.test(
    'an idempotency key stands for one upload: running, known, and free again after a day',
    async (t) => {
      const { store, clock } = await open(t);
      const commit = (id: string) =>
        store.commitUpload(id, { options, metadata: null, inputBytes: 1, requestHash: `hash of ${id}` });
      t.same(await store.beginUpload('b1', 'k'), { kind: 'begun' });
      t.same(await store.beginUpload('b2', 'k'), { kind: 'running' });
      t.same(await store.beginUpload('b2', 'other'), { kind: 'begun' });
      await store.abandonUpload('b2');
      t.same(await store.beginUpload('b3', 'other'), { kind: 'begun' }, 'an abandoned upload frees its key');
      await store.appendChunk('b1', chunk(0, 1, 1));
      await commit('b1');
      t.same(await store.beginUpload('b4', 'k'), { kind: 'known', batchId: 'b1', requestHash: 'hash of b1' });
      t.equal(await store.getBatch('b4'), null);
      await clock.advance(23 * 3600_000);
      t.match(await store.beginUpload('b5', 'k'), { kind: 'known' });
      await clock.advance(3600_000);
      t.same(await store.beginUpload('b6', 'k'), { kind: 'begun' });
    },
  );

  t.test('a deleted batch frees its idempotency key', async (t) => {
    const { store } = await open(t);
    await store.beginUpload('b1', 'k');
    await store.appendChunk('b1', chunk(0, 1, 1));
    await store.commitUpload('b1', { options, metadata: null, inputBytes: 1, requestHash: 'h' });
    await runAll(store);
    await store.deleteBatch('b1');
    t.same(await store.beginUpload('b2', 'k'), { kind: 'begun' });
  });
}
