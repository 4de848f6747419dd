// The check of files over a real store, with the clock in hand.

import t from 'tap';
import { RagmillError } from '../../src/errors.ts';
import { createMetrics } from '../../src/metrics.ts';
import { FileCheck } from '../../src/scheduler/file-check.ts';
import type { UploadLimits } from '../../src/scheduler/line-intake.ts';
import type { SqliteStore } from '../../src/store/sqlite-store.ts';
import { systemClock } from '../../src/time.ts';
import { options } from '../fakes/batch-fixtures.ts';
import { recordingLog } from '../fakes/recording-log.ts';
import { altered, scratchStore } from '../fakes/scratch-store.ts';
import { until } from '../fakes/until.ts';

const metrics = createMetrics('0.0.0');
t.teardown(() => metrics.registry.clear());

let files = 0;

const line = (id: string, text = 'Why?') =>
  JSON.stringify({
    custom_id: id,
    method: 'POST',
    url: '/v1/chat/completions',
    body: { messages: [{ role: 'user', content: text }] },
  });

/** A batch of a file with these bytes, in pieces of this size. */
async function batchOf(store: SqliteStore, text: string, pieceBytes = 1_000_000): Promise<string> {
  files += 1;
  const [fileId, batchId] = [`file-${files}`, `batch_${files}`];
  const bytes = Buffer.from(text);
  await store.beginFile(fileId);
  for (let start = 0; start < bytes.length; start += pieceBytes) {
    await store.appendFilePiece(fileId, start / pieceBytes, bytes.subarray(start, start + pieceBytes));
  }
  await store.commitFile(fileId, { filename: 'a.jsonl', lifeSeconds: null });
  await store.createFileBatch(batchId, {
    inputFileId: fileId,
    endpoint: '/v1/chat/completions',
    options,
    metadata: null,
    outputLifeSeconds: null,
  });
  return batchId;
}

const LIMITS: UploadLimits = { maxBatchLines: 10_000, maxBatchBytes: 1, maxLineBytes: 100_000 };

function checkOf(store: SqliteStore, settings: Partial<ConstructorParameters<typeof FileCheck>[0]> = {}) {
  const passed: string[] = [];
  const check = new FileCheck({
    store,
    limits: LIMITS,
    checkRoom: async () => {},
    isUnknownModel: () => false,
    onPassed: () => passed.push('passed'),
    metrics,
    clock: systemClock,
    log: recordingLog().log,
    ...settings,
  });
  t.teardown(() => check.stop());
  return { check, passed };
}

const checked = (store: SqliteStore, id: string) =>
  until('the check to end', async () => (await store.getBatch(id))?.status !== 'validating');

t.test('lines are stored as they are, however the file was cut into pieces', async (t) => {
  const store = await scratchStore(t);
  const lines = Array.from({ length: 600 }, (_, index) => line(`q${index}`, 'ä🚢'.repeat(index % 7)));
  const text = `${lines.join('\r\n')}\n\n  \n${line('last')}`;
  const { check, passed } = checkOf(store);
  check.start();
  for (const pieceBytes of [97, 4096, 1_000_000]) {
    const id = await batchOf(store, text, pieceBytes);
    check.nudge();
    await checked(store, id);
    const batch = await store.getBatch(id);
    t.match(batch, { status: 'in_progress', total: 601, inputBytes: Buffer.byteLength(text) });
    const stored: string[] = [];
    for (let afterLine = 0; ; ) {
      const page = await store.readInput(id, { afterLine, status: null });
      if (!page) break;
      stored.push(...page.lines.map(({ bytes }) => bytes.toString()));
      afterLine = page.lastLine;
    }
    t.same(stored, [...lines, line('last')]);
  }
  await until('the last to be told of', () => passed.length === 3);
});

t.test('batches that wait already are checked at the start, oldest first', async (t) => {
  const store = await scratchStore(t);
  const order: string[] = [];
  const first = await batchOf(store, line('a'));
  const second = await batchOf(store, 'nonsense');
  // What an earlier process left of its check does not count.
  await store.appendChunk(first, {
    number: 0,
    firstLine: 1,
    lineCount: 1,
    blankLines: [],
    text: Buffer.from('old'),
    problems: [],
  });
  const unwatch = [first, second].map((id) => store.watch(id, () => order.push(id)));
  const { check } = checkOf(store);
  check.start();
  await checked(store, second);
  // A commit is seen by those who look before those who watch are told of it.
  await until('the end to be told', () => order.includes(second));
  for (const stop of unwatch) stop();
  t.equal((await store.getBatch(first))?.total, 1);
  t.match(await store.getBatch(second), {
    status: 'failed',
    total: 0,
    errors: [{ code: 'invalid_json_line', line: 1 }],
  });
  t.equal(order[0], first);
  t.equal(order.at(-1), second);
});

t.test('all or nothing: one bad line at the end, and no line is kept', async (t) => {
  const store = await scratchStore(t);
  const good = Array.from({ length: 1000 }, (_, index) => line(`q${index}`));
  const id = await batchOf(store, [...good, line('q7')].join('\n'));
  const { check, passed } = checkOf(store);
  check.start();
  await checked(store, id);
  t.match(await store.getBatch(id), {
    status: 'failed',
    total: 0,
    errors: [{ code: 'duplicate_custom_id', line: 1001, param: 'custom_id', message: /line 8/ }],
  });
  t.same(passed, []);
});

t.test('a line over the limit, and more lines than there may be', async (t) => {
  const store = await scratchStore(t);
  const { check } = checkOf(store, { limits: { maxBatchLines: 2, maxBatchBytes: 1, maxLineBytes: 500 } });
  check.start();
  const id = await batchOf(store, [line('a', 'x'.repeat(500)), line('b'), line('c')].join('\n'));
  check.nudge();
  await checked(store, id);
  const { errors } = (await store.getBatch(id)) ?? {};
  t.match(errors, [
    { code: 'line_too_long', line: 1 },
    { code: 'too_many_tasks', line: null, param: null },
  ]);
});

t.test('a full disk fails no batch: the check waits, and goes on', async (t) => {
  const store = await scratchStore(t);
  const id = await batchOf(store, line('a'));
  const { log, lines: said } = recordingLog();
  let refusals = 0;
  let isFull = true;
  const checkRoom = async () => {
    if (!isFull) return;
    refusals += 1;
    throw new RagmillError('storage_full', 'The disk is full.');
  };
  const waitsMs: number[] = [];
  const clock = {
    ...systemClock,
    sleep: (ms: number, signal?: AbortSignal) => {
      waitsMs.push(ms);
      return systemClock.sleep(1, signal);
    },
  };
  const { check } = checkOf(store, { checkRoom, clock, log });
  check.start();
  await until('it to try again', () => refusals > 8);
  t.same(waitsMs.slice(0, 3), [1_000, 2_000, 4_000], 'each try writes the lines anew: they become rare');
  t.equal(Math.max(...waitsMs), 30_000, 'but not too rare');
  t.equal((await store.getBatch(id))?.status, 'validating');
  isFull = false;
  await checked(store, id);
  t.match(await store.getBatch(id), { status: 'in_progress', total: 1 });
  await until('the log to say so', () => JSON.stringify(said).includes('works again'));

  waitsMs.length = 0;
  isFull = true;
  const next = await batchOf(store, line('a'));
  check.nudge();
  await until('the first wait', () => waitsMs.length > 0);
  t.equal(waitsMs[0], 1_000, 'the next trouble is new');
  isFull = false;
  await checked(store, next);
});

t.test('a file that cannot be checked does not stand in the way of others for ever', async (t) => {
  const store = await scratchStore(t);
  const broken = await batchOf(store, line('a'));
  const next = await batchOf(store, line('b'));
  const fileId = (await store.getBatch(broken))?.inputFileId;
  const clock = {
    ...systemClock,
    sleep: (_ms: number, signal?: AbortSignal) => systemClock.sleep(1, signal),
  };
  let tries = 0;
  const { check } = checkOf(store, {
    clock,
    store: altered(store, {
      async readFilePiece(id, number) {
        if (id !== fileId) return store.readFilePiece(id, number);
        tries += 1;
        throw new Error('nobody expected this');
      },
    }),
  });
  check.start();
  await checked(store, next);
  t.equal(tries, 3);
  t.match(await store.getBatch(broken), {
    status: 'failed',
    errors: [{ code: 'internal_error', line: null }],
  });
  t.equal((await store.getBatch(next))?.status, 'in_progress');
});

t.test('a batch that is cancelled or deleted meanwhile is let go', async (t) => {
  const store = await scratchStore(t);
  const id = await batchOf(store, Array.from({ length: 2000 }, (_, index) => line(`q${index}`)).join('\n'));
  const next = await batchOf(store, line('a'));
  const { check, passed } = checkOf(store, {
    checkRoom: async () => {
      await store.requestCancel(id);
    },
  });
  check.start();
  await checked(store, next);
  t.equal((await store.getBatch(id))?.status, 'cancelled');
  await until('it to be told of', () => passed.length === 1);
});

t.test('a stop ends the check at once, and the next start goes on', async (t) => {
  const store = await scratchStore(t);
  const id = await batchOf(
    store,
    Array.from({ length: 2000 }, (_, index) => line(`q${index}`)).join('\n'),
    1000,
  );
  const reached = Promise.withResolvers<void>();
  const first = checkOf(store, {
    checkRoom: async () => {
      reached.resolve();
    },
  });
  first.check.start();
  await reached.promise;
  await first.check.stop();
  t.match(await store.getBatch(id), { status: 'validating' });
  const second = checkOf(store);
  second.check.start();
  await checked(store, id);
  t.match(await store.getBatch(id), { status: 'in_progress', total: 2000 });
});
