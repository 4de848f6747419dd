import fc from 'fast-check';
import t from 'tap';
import type { Lease } from '../../src/domain/chunk.ts';
import type { RecordStatus } from '../../src/domain/record.ts';
import { ndjsonForm } from '../../src/routes/result-format.ts';
import { type ResultRequest, streamResults } from '../../src/routes/result-stream.ts';
import { Turns } from '../../src/routes/turns.ts';
import type { Store } from '../../src/store/store.ts';
import { systemClock } from '../../src/time.ts';
import { chunk, options, record } from '../fakes/batch-fixtures.ts';
import { altered, scratchStore } from '../fakes/scratch-store.ts';
import { until } from '../fakes/until.ts';

const store = await scratchStore(t);
const never = new AbortController().signal;
const turns = new Turns();
let batches = 0;

const sources = (from: Store = store) => ({
  store: from,
  clock: systemClock,
  turns,
  format: ndjsonForm.page,
});

/** A batch of one chunk of so many lines, leased, with the records of some of them. */
async function batchOf(lineCount: number, records: readonly (readonly [number, RecordStatus?])[] = []) {
  batches += 1;
  const id = `b${batches}`;
  await store.beginUpload(id, null);
  // The store has no limit of its own for a chunk's lines.
  await store.appendChunk(id, chunk(0, 1, lineCount));
  await store.commitUpload(id, { options, metadata: null, inputBytes: 1, requestHash: null });
  const claimed = await store.claimChunk(id);
  if (!claimed) throw new Error('nothing to claim');
  const finish = (...lines: readonly (readonly [number, RecordStatus?])[]) =>
    store.appendRecords(
      claimed.lease,
      lines.map(([line, status]) => record(line, status)),
      new Map(),
    );
  if (records.length > 0) await finish(...records);
  return { id, finish, lease: claimed.lease as Lease };
}

const query = (batchId: string, rest: Partial<ResultRequest> = {}): ResultRequest => ({
  batchId,
  after: 0,
  order: 'completion',
  status: null,
  currentOnly: false,
  include: new Set(),
  follow: true,
  upToSeq: null,
  ...rest,
});

interface Line {
  readonly seq: number;
  readonly line: number;
  readonly status: string;
}

/** Reads a stream on its own; what has come so far can be looked at. */
function reading(asked: ResultRequest, from: Store = store, signal: AbortSignal = never) {
  const text: string[] = [];
  const state = { ended: 'not yet', text, lines: () => parse(text.join('')) };
  const done = (async () => {
    try {
      for await (const piece of streamResults(sources(from), asked, signal)) text.push(String(piece));
      state.ended = 'cleanly';
    } catch (error) {
      state.ended = String((error as { code?: string }).code ?? error);
    }
  })();
  return {
    ...state,
    get end() {
      return state.ended;
    },
    done,
  };
}

const parse = (text: string): Line[] =>
  text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Line]));

async function all(asked: ResultRequest): Promise<Line[]> {
  return parse((await Array.fromAsync(streamResults(sources(), asked, never))).join(''));
}

t.test('follows a batch to its last record, and ends only then', async (t) => {
  const batch = await batchOf(5, [[2]]);
  const stream = reading(query(batch.id));
  await until('what is there already', () => stream.lines().length === 1);
  await batch.finish([5], [1]);
  await until('what comes', () => stream.lines().length === 3);
  t.equal(stream.end, 'not yet');
  await batch.finish([3], [4]);
  await stream.done;
  t.equal(stream.end, 'cleanly');
  t.same(
    stream.lines().map(({ seq, line }) => [seq, line]),
    [
      [1, 2],
      [2, 5],
      [3, 1],
      [4, 3],
      [5, 4],
    ],
  );
  t.ok(
    stream.text.every((piece) => piece.endsWith('\n')),
    'whole lines only',
  );
});

t.test('without follow it gives what is there now', async (t) => {
  const batch = await batchOf(3, [[2]]);
  t.match(await all(query(batch.id, { follow: false })), [{ seq: 1, line: 2 }]);
  t.same(await all(query(batch.id, { follow: false, after: 1 })), []);
});

t.test('any split by the cursor is the whole, in either order', async () => {
  const lineCount = 700;
  const batch = await batchOf(
    lineCount,
    Array.from({ length: lineCount }, (_, index) => [((index * 211) % lineCount) + 1] as const),
  );
  const whole = {
    completion: await all(query(batch.id)),
    input: await all(query(batch.id, { order: 'input' })),
  };
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('completion', 'input'),
      fc.nat(lineCount + 5),
      fc.boolean(),
      async (order, after, follow) => {
        const rest = await all(query(batch.id, { order, after, follow }));
        const head = whole[order].slice(0, lineCount - rest.length);
        const cursor = order === 'input' ? 'line' : 'seq';
        return (
          JSON.stringify([...head, ...rest]) === JSON.stringify(whole[order]) &&
          rest.every((record, index) => record[cursor] === after + index + 1)
        );
      },
    ),
    { numRuns: 20 },
  );
});

t.test('in input order it waits at a gap when it follows, and passes over it when not', async (t) => {
  const batch = await batchOf(4, [[1], [3]]);
  t.same(
    (await all(query(batch.id, { order: 'input', follow: false }))).map(({ line }) => line),
    [1, 3],
  );
  const stream = reading(query(batch.id, { order: 'input' }));
  await until('the first line', () => stream.lines().length === 1);
  await batch.finish([4]);
  await batch.finish([2]);
  await stream.done;
  t.same(
    stream.lines().map(({ line }) => line),
    [1, 2, 3, 4],
  );
});

t.test('a filter leaves out records, not pages of them', async (t) => {
  const lineCount = 600;
  const batch = await batchOf(
    lineCount,
    Array.from(
      { length: lineCount },
      (_, index) => [index + 1, index === 0 || index === lineCount - 1 ? 'succeeded' : 'failed'] as const,
    ),
  );
  t.same(
    (await all(query(batch.id, { status: 'succeeded' }))).map(({ seq }) => seq),
    [1, lineCount],
  );
  t.equal((await all(query(batch.id, { status: 'failed' }))).length, lineCount - 2);
});

t.test('what did not succeed counts as failed', async (t) => {
  const batch = await batchOf(3, [[1, 'failed'], [2, 'cancelled'], [3]]);
  t.same(
    (await all(query(batch.id, { status: 'failed' }))).map(({ line }) => line),
    [1, 2],
  );
});

t.test('misses no change that comes between the look and the wait', async (t) => {
  for (const moment of [
    'before the batch',
    'after the batch',
    'before the page',
    'after the page',
  ] as const) {
    const batch = await batchOf(2, [[1]]);
    let isDue = true;
    // The batch ends at the one moment at which the stream is not listening but looking.
    const endNow = async (now: typeof moment) => {
      if (now !== moment || !isDue) return;
      isDue = false;
      await batch.finish([2]);
    };
    const racing = altered(store, {
      async getBatch(id) {
        await endNow('before the batch');
        const found = await store.getBatch(id);
        await endNow('after the batch');
        return found;
      },
      async readRecords(id, page) {
        if (page.afterSeq === 1) await endNow('before the page');
        const found = await store.readRecords(id, page);
        if (page.afterSeq === 1) await endNow('after the page');
        return found;
      },
    });
    const stream = reading(query(batch.id), racing);
    await until(`the end, with the change ${moment}`, () => stream.end !== 'not yet');
    t.equal(stream.end, 'cleanly', moment);
    t.equal(stream.lines().length, 2, moment);
  }
});

t.test('an abort breaks it off: while it waits, between two lines, and before it began', async (t) => {
  const batch = await batchOf(2, [[1]]);
  const waiting = new AbortController();
  const stream = reading(query(batch.id), store, waiting.signal);
  await until('the first line', () => stream.lines().length === 1);
  waiting.abort(new Error('closed'));
  await stream.done;
  t.equal(stream.end, 'Error: closed');

  const between = new AbortController();
  const lines = streamResults(sources(), query(batch.id), between.signal);
  await lines.next();
  between.abort(new Error('closed'));
  await t.rejects(lines.next(), { message: 'closed' });

  const early = reading(query(batch.id), store, AbortSignal.abort(new Error('closed')));
  await until('the early one to end', () => early.end !== 'not yet');
  t.equal(early.end, 'Error: closed');
});

t.test('an unknown batch, or one that goes while it is read, is an error and not an end', async (t) => {
  await t.rejects(all(query('none')), { code: 'batch_not_found' });
  const batch = await batchOf(2, [[1]]);
  let isGone = false;
  let change = () => {};
  const going = altered(store, {
    getBatch: async (id) => (isGone ? null : store.getBatch(id)),
    watch(_, onChange) {
      change = onChange;
      return () => {};
    },
  });
  const stream = reading(query(batch.id), going);
  await until('the first line', () => stream.lines().length === 1);
  isGone = true;
  change();
  await stream.done;
  t.equal(stream.end, 'batch_not_found');
});

t.test('a cancelled batch ends its streams after the records of all lines', async (t) => {
  const batch = await batchOf(3, [[1]]);
  const stream = reading(query(batch.id));
  await until('the first line', () => stream.lines().length === 1);
  await store.requestCancel(batch.id);
  const claimed = await store.claimChunk(batch.id);
  t.equal(stream.end, 'not yet');
  await store.appendRecords(claimed!.lease, [record(2, 'cancelled'), record(3, 'cancelled')], new Map());
  await stream.done;
  t.equal(stream.end, 'cleanly');
  t.equal(stream.lines().length, 3);
});

t.test('stops watching however it ends', async (t) => {
  const batch = await batchOf(2, [[1]]);
  let watching = 0;
  const counted = altered(store, {
    watch(id, onChange) {
      watching += 1;
      const unwatch = store.watch(id, onChange);
      return () => {
        watching -= 1;
        unwatch();
      };
    },
  });
  const left = streamResults(sources(counted), query(batch.id), never);
  await left.next();
  t.equal(watching, 1);
  await left.return(undefined as never);
  t.equal(watching, 0, 'the client went away');
  const broken = new AbortController();
  const stream = reading(query(batch.id), counted, broken.signal);
  await until('the first line', () => stream.lines().length === 1);
  broken.abort();
  await stream.done;
  t.equal(watching, 0, 'the service stops');
  await batch.finish([2]);
  await reading(query(batch.id), counted).done;
  t.equal(watching, 0, 'the batch has ended');
});
