// Any history of operations leaves the counters equal to what the log says, and the log without a gap.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import type { ClaimedChunk } from '../../src/domain/chunk.ts';
import type { ResultFileKind } from '../../src/domain/file.ts';
import type { RecordStatus, StoredRecord } from '../../src/domain/record.ts';
import { SqliteStore } from '../../src/store/sqlite-store.ts';
import { chunk, options, record } from '../fakes/batch-fixtures.ts';
import { ManualClock } from '../fakes/manual-clock.ts';

const LINES = 10;
const CHUNK = 4;

type Step =
  | { readonly do: 'claim' | 'release' | 'pause' | 'resume' | 'cancel' | 'expire' | 'tick' }
  | { readonly do: 'record'; readonly which: number; readonly status: 'succeeded' | 'failed' }
  | { readonly do: 'retry'; readonly statuses: readonly RecordStatus[] };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Step>({ do: 'claim' }) },
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('record' as const),
      which: fc.nat(1000),
      status: fc.constantFrom('succeeded' as const, 'failed' as const),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.constantFrom<Step>(
      ...(['release', 'pause', 'resume', 'cancel', 'expire', 'tick'] as const).map((name) => ({ do: name })),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('retry' as const),
      statuses: fc.subarray<RecordStatus>(['succeeded', 'failed', 'cancelled', 'expired'], { minLength: 1 }),
    }),
  },
);

class World {
  readonly store: SqliteStore;
  readonly clock: ManualClock;
  held: ClaimedChunk[] = [];
  published: string[] = [];

  constructor(store: SqliteStore, clock: ManualClock) {
    this.store = store;
    this.clock = clock;
  }

  async do(step: Step): Promise<void> {
    const { store } = this;
    if (step.do === 'claim') {
      const claimed = await store.claimChunk('b1');
      if (claimed) this.held.push(claimed);
    } else if (step.do === 'record') await this.#record(step.which, step.status);
    else if (step.do === 'release') {
      const claimed = this.held.shift();
      if (claimed) await store.releaseChunk(claimed.lease);
    } else if (step.do === 'pause') await store.pauseBatch('b1');
    else if (step.do === 'resume') await store.resumeBatch('b1');
    else if (step.do === 'cancel') await store.requestCancel('b1');
    else if (step.do === 'expire') await store.requestExpiry('b1');
    else if (step.do === 'tick') await this.clock.advance(12_000);
    else if (step.do === 'retry')
      await store.retryBatch('b1', { statuses: step.statuses, code: null, endpoint: null, customIds: null });
    await this.check();
  }

  /** Lines are recorded twice, late, and under lost leases, too. */
  async #record(which: number, status: 'succeeded' | 'failed'): Promise<void> {
    const claimed = this.held[which % Math.max(1, this.held.length)];
    if (!claimed) return;
    const count = claimed.text.toString().split('\n').length;
    const open = Array.from({ length: count }, (_, index) => claimed.firstLine + index).filter(
      (line) => !claimed.finishedLines.includes(line),
    );
    const line = open[which % Math.max(1, open.length)];
    if (line === undefined) return;
    await this.store.markStarted(claimed.lease, [line]);
    const ending = claimed.ending ?? status;
    const fileBytes = 10 + which;
    const body = JSON.stringify({ line, status: ending, fileBytes });
    await this.store.appendRecords(claimed.lease, [{ ...record(line, ending), fileBytes, body }], new Map());
  }

  async check(): Promise<void> {
    const batch = await this.store.getBatch('b1');
    const log = await this.store.readRecords('b1', { afterSeq: 0, limit: 10_000, currentOnly: false });
    const current = await this.store.readRecords('b1', { afterSeq: 0, limit: 10_000, currentOnly: true });
    if (!batch) throw new Error('the batch is gone');
    const { queued, leased, ...ended } = batch.lineCounts;
    const sum = Object.values(batch.lineCounts).reduce((total, count) => total + count, 0);
    if (sum !== LINES || queued < 0 || leased < 0)
      throw new Error(`counts: ${JSON.stringify(batch.lineCounts)}`);
    if (log.some((entry, index) => entry.seq !== index + 1)) throw new Error('the log has a gap');
    if (batch.lastSeq !== log.length) throw new Error('last_seq is not the log');
    if (this.published.some((body, index) => body !== log[index]?.body))
      throw new Error('a record has changed');
    this.published = log.map(({ body }) => body);
    const bytes = log.reduce((total, entry) => total + Buffer.byteLength(entry.body) + 1, 0);
    if ((await this.store.logEnd('b1')).bytes !== bytes) throw new Error('the log forgot its bytes');
    if (new Set(current.map(({ line }) => line)).size !== current.length)
      throw new Error('a line has two current records');
    await this.#checkFile('output', batch.outputBytes, current);
    await this.#checkFile('error', batch.errorBytes, current);
    await this.#checkCounts(
      current.map(({ line, status }) => ({ line, status })),
      ended,
    );
  }

  /** Whatever runs again stands in its file until it is replaced. */
  async #checkFile(
    kind: ResultFileKind,
    bytes: number | null,
    current: readonly StoredRecord[],
  ): Promise<void> {
    const wanted = current.filter(({ status }) => (status === 'succeeded') === (kind === 'output'));
    const found = await this.store.readResponses('b1', { kind, afterSeq: 0, limit: 10_000 });
    if (found.map(({ seq }) => seq).join() !== wanted.map(({ seq }) => seq).join())
      throw new Error(`the ${kind} file holds other records`);
    const sum = wanted.reduce((total, { body }) => total + JSON.parse(body).fileBytes, 0);
    if (bytes !== sum) throw new Error(`${kind}: ${bytes} bytes counted, ${sum} there`);
  }

  /** Lines that wait for a record in this run do not count by their old one. */
  async #checkCounts(
    current: readonly { line: number; status: RecordStatus }[],
    ended: Readonly<Record<string, number>>,
  ): Promise<void> {
    const histories = await Promise.all(
      current.map(async ({ line, status }) => ({
        status,
        history: await this.store.lineHistory('b1', line),
      })),
    );
    const closed = histories.filter(({ history }) => history?.open === null);
    for (const status of ['succeeded', 'failed', 'cancelled', 'expired'] as const) {
      const counted = closed.filter((line) => line.status === status).length;
      if (counted !== ended[status]) throw new Error(`${status}: ${ended[status]} counted, ${counted} there`);
    }
  }
}

t.test('counters and log agree after every operation of any history', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const dataDir = mkdtempSync(join(tmpdir(), 'ragmill-store-'));
      const clock = new ManualClock();
      const store = await SqliteStore.open({ dataDir, clock });
      try {
        await store.beginUpload('b1', null);
        for (let [number, first] = [0, 1]; first <= LINES; number += 1, first += CHUNK) {
          await store.appendChunk('b1', chunk(number, first, Math.min(CHUNK, LINES - first + 1)));
        }
        await store.commitUpload('b1', { options, metadata: null, inputBytes: 1, requestHash: null });
        const world = new World(store, clock);
        for (const one of steps) await world.do(one);
      } finally {
        await store.close();
        rmSync(dataDir, { recursive: true, force: true });
      }
    }),
    { numRuns: 40, interruptAfterTimeLimit: 60_000, markInterruptAsFailure: false },
  );
  t.pass('no history broke it');
});
