// What every store must do with files, with the batches that are made of them, and with results that are read as files.

import type { Test } from 'tap';
import { type ResultFileKind, resultFileId } from '../../src/domain/file.ts';
import type { NewRecord, RecordStatus } from '../../src/domain/record.ts';
import type { FilePage, NewFileBatch, RetryFilter, Store } from '../../src/store/store.ts';
import { chunk, options, record } from '../fakes/batch-fixtures.ts';
import type { ManualClock } from '../fakes/manual-clock.ts';
import type { StoreUnderTest } from './store-conformance.ts';

const FIRST_PAGE: FilePage = { purpose: null, after: null, limit: 100, order: 'asc' };
const NONE = new Map();
const FAILED: RetryFilter = { statuses: ['failed'], code: null, endpoint: null, customIds: null };
const ALL_LINES: RetryFilter = { ...FAILED, statuses: ['succeeded', 'failed', 'cancelled', 'expired'] };
const DAY = 24 * 3600;

export async function storedFile(
  store: Store,
  id: string,
  pieces: readonly string[] = ['{}\n'],
  lifeSeconds: number | null = null,
) {
  await store.beginFile(id);
  for (const [number, text] of pieces.entries()) await store.appendFilePiece(id, number, Buffer.from(text));
  return store.commitFile(id, { filename: `${id}.jsonl`, lifeSeconds });
}

const fileBatch = (changes: Partial<NewFileBatch> = {}): NewFileBatch => ({
  inputFileId: 'file-in',
  endpoint: '/v1/chat/completions',
  options: { ...options, completionWindow: '24h' },
  metadata: { team: 'search' },
  outputLifeSeconds: null,
  ...changes,
});

/** A batch of a file that has passed its check, with so many lines. */
export async function checkedBatch(
  store: Store,
  id: string,
  lines: number,
  changes: Partial<NewFileBatch> = {},
) {
  if ((await store.getFile('file-in')) === null) await storedFile(store, 'file-in');
  await store.createFileBatch(id, fileBatch(changes));
  await store.appendChunk(id, chunk(0, 1, lines));
  return store.passValidation(id, 99);
}

/** Claims the open lines and ends them so. */
export async function endLines(store: Store, id: string, records: readonly NewRecord[]): Promise<void> {
  const found = await store.claimChunk(id);
  if (!found) throw new Error(`nothing to claim in ${id}`);
  await store.appendRecords(found.lease, records, NONE);
  await store.releaseChunk(found.lease);
}

const sized = (line: number, status: RecordStatus, fileBytes: number): NewRecord => ({
  ...record(line, status),
  fileBytes,
  body: JSON.stringify({ line, status, fileBytes }),
});

const seconds = (clock: ManualClock) => Math.floor(clock.now() / 1000);

const idsOf = async (store: Store, page: Partial<FilePage> = {}) =>
  (await store.listFiles({ ...FIRST_PAGE, ...page })).files.map(({ id }) => id);

async function contentOf(store: Store, id: string): Promise<string | null> {
  const pieces: Buffer[] = [];
  for (let piece = await store.readFilePiece(id, 0); piece; ) {
    pieces.push(piece);
    piece = await store.readFilePiece(id, pieces.length);
  }
  return pieces.length === 0 ? null : Buffer.concat(pieces).toString();
}

/** What the counters must be: the sizes of all entries, read a few at a time. */
async function bytesIn(store: Store, id: string, kind: ResultFileKind): Promise<number> {
  let [bytes, afterSeq] = [0, 0];
  for (;;) {
    const page = await store.readResponses(id, { kind, afterSeq, limit: 2 });
    if (page.length === 0) return bytes;
    for (const { body, seq } of page) {
      bytes += JSON.parse(body).fileBytes;
      afterSeq = seq;
    }
  }
}

/** `open` gives a fresh, empty store and closes it with the test. */
export function filesConformance(t: Test, open: (t: Test) => Promise<StoreUnderTest>): void {
  uploadConformance(t, open);
  checkConformance(t, open);
  resultConformance(t, open);
  listConformance(t, open);
}

type Open = (t: Test) => Promise<StoreUnderTest>;

function uploadConformance(t: Test, open: Open): void {
  t.test('a file is seen from its commit on, and reads as it was written', async (t) => {
    const { store, clock } = await open(t);
    const pieces = ['Grüße,\n'.repeat(1000), 'the rest'];
    await store.beginFile('file-a');
    await store.appendFilePiece('file-a', 0, Buffer.from(pieces[0]!));
    t.equal(await store.getFile('file-a'), null);
    t.equal(await store.readFilePiece('file-a', 0), null);
    t.equal(await store.deleteFile('file-a'), null);
    t.same(await idsOf(store), []);
    await t.rejects(store.createFileBatch('batch_1', fileBatch({ inputFileId: 'file-a' })), {
      code: 'file_not_found',
    });
    await clock.advance(5_000);
    await store.appendFilePiece('file-a', 1, Buffer.from(pieces[1]!));
    const file = await store.commitFile('file-a', { filename: 'søk.jsonl', lifeSeconds: 60 });
    t.same(file, {
      id: 'file-a',
      purpose: 'batch',
      filename: 'søk.jsonl',
      bytes: Buffer.byteLength(pieces.join('')),
      createdAt: seconds(clock),
      expiresAt: seconds(clock) + 60,
    });
    t.same(await store.getFile('file-a'), file);
    t.same((await store.listFiles(FIRST_PAGE)).files, [file]);
    t.equal(await contentOf(store, 'file-a'), pieces.join(''));
    t.ok((await store.readFilePiece('file-a', 0)) instanceof Buffer);
    await t.rejects(store.appendFilePiece('file-a', 2, Buffer.from('more')), { code: 'upload_incomplete' });
    await store.abandonFile('file-a');
    t.same(await store.getFile('file-a'), file, 'what is committed is not abandoned');
  });

  t.test('an abandoned file leaves nothing, and cannot be committed', async (t) => {
    const { store } = await open(t);
    await store.beginFile('file-a');
    await store.appendFilePiece('file-a', 0, Buffer.from('x'));
    await store.abandonFile('file-a');
    const incomplete = { code: 'upload_incomplete' };
    await t.rejects(store.appendFilePiece('file-a', 1, Buffer.from('y')), incomplete);
    await t.rejects(store.commitFile('file-a', { filename: 'a', lifeSeconds: null }), incomplete);
    await store.abandonFile('file-a');
    await store.abandonFile('never begun');
    t.equal(await store.getFile('file-a'), null);
  });

  t.test('a deleted file is gone at once', async (t) => {
    const { store } = await open(t);
    await storedFile(store, 'file-a');
    t.equal(await store.deleteFile('file-a'), 'deleted');
    t.equal(await store.deleteFile('file-a'), null);
    t.equal(await store.deleteFile('never there'), null);
    t.equal(await store.getFile('file-a'), null);
    t.equal(await store.readFilePiece('file-a', 0), null);
    t.same(await idsOf(store), []);
    await t.rejects(store.createFileBatch('batch_1', fileBatch({ inputFileId: 'file-a' })), {
      code: 'file_not_found',
    });
    t.equal(await store.getBatch('batch_1'), null);
  });

  t.test('a file is gone when its time is over, whether it was swept or not', async (t) => {
    const { store, clock } = await open(t);
    await storedFile(store, 'file-short', ['a'], 60);
    await storedFile(store, 'file-long', ['b'], 120);
    await storedFile(store, 'file-kept', ['c']);
    await clock.advance(59_000);
    await store.expireFiles();
    t.same(await idsOf(store), ['file-kept', 'file-long', 'file-short']);
    await clock.advance(1_000);
    for (const when of ['before', 'after']) {
      t.equal(await store.getFile('file-short'), null, when);
      t.equal(await store.readFilePiece('file-short', 0), null, when);
      t.equal(await store.deleteFile('file-short'), null, when);
      t.same(await idsOf(store), ['file-kept', 'file-long'], when);
      await t.rejects(store.createFileBatch('batch_1', fileBatch({ inputFileId: 'file-short' })), {
        code: 'file_not_found',
      });
      await store.expireFiles();
    }
  });
}

function checkConformance(t: Test, open: Open): void {
  t.test('a batch of a file is there at once, and nothing of it runs while it is checked', async (t) => {
    const { store, clock } = await open(t);
    await storedFile(store, 'file-in');
    const batch = await store.createFileBatch('batch_1', fileBatch({ endpoint: '/v1/embeddings' }));
    t.match(batch, {
      id: 'batch_1',
      status: 'validating',
      endpoint: '/v1/embeddings',
      inputFileId: 'file-in',
      metadata: { team: 'search' },
      errors: null,
      total: 0,
      createdAt: seconds(clock),
      inProgressAt: null,
      endedAt: null,
      expiresAt: seconds(clock) + DAY,
      outputBytes: 0,
      errorBytes: 0,
      resultFilesExpireAt: null,
    });
    t.same(await store.getBatch('batch_1'), batch);
    await store.createFileBatch('batch_2', fileBatch());
    t.same(await store.validatingBatches(), ['batch_1', 'batch_2']);
    await store.appendChunk('batch_1', chunk(0, 1, 2));
    t.equal(await store.claimChunk('batch_1'), null);
    t.match(await store.pauseBatch('batch_1'), { status: 'validating', pauseReason: null });
    t.match(await store.resumeBatch('batch_1'), { status: 'validating' });
    t.match(await store.requestExpiry('batch_1'), { status: 'validating' });
    t.match(await store.retryBatch('batch_1', ALL_LINES), { status: 'validating', run: 1 });
    t.equal(await store.deleteBatch('batch_1'), 'not_finished');
    t.same(await store.activeBatches(), []);
    t.same(await store.unfinishedBatches(), []);
    t.same(await store.expiringBatches(), []);
    t.same(await store.endedBatches(seconds(clock) + 10 * DAY), []);
  });

  t.test('a batch that has passed its check runs', async (t) => {
    const { store, clock } = await open(t);
    await storedFile(store, 'file-in');
    const createdAt = seconds(clock);
    const changes = { options: { ...options, pauseAfter: 2, completionWindow: '24h' } };
    await store.createFileBatch('batch_1', fileBatch(changes));
    await clock.advance(7_000);
    await store.appendChunk('batch_1', chunk(0, 1, 3));
    let changed = 0;
    store.watch('batch_1', () => {
      changed += 1;
    });
    const batch = await store.passValidation('batch_1', 4711);
    t.equal(changed, 1);
    t.match(batch, {
      status: 'in_progress',
      total: 3,
      inputBytes: 4711,
      lineCounts: { queued: 3 },
      createdAt,
      inProgressAt: createdAt + 7,
      expiresAt: createdAt + DAY,
    });
    t.same(await store.validatingBatches(), []);
    t.same(await store.unfinishedBatches(), ['batch_1']);
    t.same(await store.expiringBatches(), [{ id: 'batch_1', expiresAt: createdAt + DAY }]);
    const found = await store.claimChunk('batch_1');
    t.match(found, { firstLine: 1, runnableLines: 2 });
    const status = await store.appendRecords(found!.lease, [record(1), record(2)], NONE);
    t.equal(status, 'paused', 'it pauses as it was asked to');
    t.match(await store.passValidation('batch_1', 1), { status: 'paused', inputBytes: 4711 });
    t.match(await store.failValidation('batch_1', []), { status: 'paused', errors: null, total: 3 });
    t.equal(await store.passValidation('unknown', 1), null);
  });

  t.test('a check that begins anew finds nothing of the one before', async (t) => {
    const { store } = await open(t);
    await storedFile(store, 'file-in');
    await store.createFileBatch('batch_1', fileBatch());
    await store.appendChunk('batch_1', chunk(0, 1, 3));
    await store.appendChunk('batch_1', chunk(1, 4, 3));
    await store.restartValidation('batch_1');
    t.match(await store.getBatch('batch_1'), { status: 'validating', total: 0 });
    t.equal(await store.readInput('batch_1', { afterLine: 0, status: null }), null);
    await store.appendChunk('batch_1', chunk(0, 1, 2));
    t.match(await store.passValidation('batch_1', 1), { total: 2, lineCounts: { queued: 2 } });
    const incomplete = { code: 'upload_incomplete' };
    await t.rejects(store.restartValidation('batch_1'), incomplete, 'its check is over');
    await t.rejects(store.appendChunk('batch_1', chunk(1, 3, 1)), incomplete);
    await t.rejects(store.restartValidation('unknown'), incomplete);
    t.match(await store.getBatch('batch_1'), { total: 2 });
  });

  t.test('a batch without lines does not begin', async (t) => {
    const { store } = await open(t);
    await storedFile(store, 'file-in');
    await store.createFileBatch('batch_1', fileBatch());
    await t.rejects(store.passValidation('batch_1', 0), { code: 'empty_upload' });
    t.match(await store.getBatch('batch_1'), { status: 'validating', inProgressAt: null });
  });

  t.test('a batch whose check has failed says why, has no lines, and stays so', async (t) => {
    const { store, clock } = await open(t);
    await storedFile(store, 'file-in');
    await store.createFileBatch('batch_1', fileBatch());
    await store.appendChunk('batch_1', chunk(0, 1, 3));
    await clock.advance(3_000);
    const errors = [
      { code: 'line_not_json', message: 'No JSON.', param: null, line: 2 },
      { code: 'missing_field', message: 'No body.', param: 'body', line: null },
    ];
    const failed = { status: 'failed', errors, total: 0, endedAt: seconds(clock), inProgressAt: null };
    t.match(await store.failValidation('batch_1', errors), failed);
    t.equal(await store.failValidation('unknown', errors), null);
    t.equal(await store.readInput('batch_1', { afterLine: 0, status: null }), null);
    t.equal(await store.claimChunk('batch_1'), null);
    t.match(await store.passValidation('batch_1', 1), failed);
    t.match(await store.requestCancel('batch_1'), { ...failed, cancellingAt: null });
    t.match(await store.retryBatch('batch_1', ALL_LINES), { ...failed, run: 1 });
    t.same(await store.validatingBatches(), []);
    t.same(await store.unfinishedBatches(), []);
    await t.rejects(store.appendChunk('batch_1', chunk(1, 4, 1)), { code: 'upload_incomplete' });
    t.same(await store.endedBatches(seconds(clock) + 1), ['batch_1'], 'it is kept as long as others');
    t.equal(await store.deleteBatch('batch_1'), 'deleted');
    t.ok(await store.wasDeleted('batch_1'));
  });

  t.test('a batch that is cancelled while it is checked has ended, without lines', async (t) => {
    const { store, clock } = await open(t);
    await storedFile(store, 'file-in');
    await store.createFileBatch('batch_1', fileBatch());
    await store.appendChunk('batch_1', chunk(0, 1, 3));
    await clock.advance(3_000);
    const now = seconds(clock);
    const cancelled = { status: 'cancelled', total: 0, cancellingAt: now, endedAt: now, lastSeq: 0 };
    t.match(await store.requestCancel('batch_1'), cancelled);
    t.equal(await store.claimChunk('batch_1'), null);
    t.same(await store.activeBatches(), []);
    await t.rejects(store.appendChunk('batch_1', chunk(1, 4, 1)), { code: 'upload_incomplete' });
    await t.rejects(store.restartValidation('batch_1'), { code: 'upload_incomplete' });
    t.match(await store.passValidation('batch_1', 1), cancelled);
    t.match(await store.failValidation('batch_1', []), { ...cancelled, errors: null });
    t.match(await store.retryBatch('batch_1', ALL_LINES), cancelled, 'there is nothing to run again');
    t.equal(await store.readInput('batch_1', { afterLine: 0, status: null }), null);
    t.equal(await store.deleteBatch('batch_1'), 'deleted');
  });

  t.test('a file is in use while a batch is made of it, and its expiry waits', async (t) => {
    const { store, clock } = await open(t);
    await storedFile(store, 'file-in', ['abc'], 60);
    await store.createFileBatch('batch_1', fileBatch());
    t.equal(await store.deleteFile('file-in'), 'in_use');
    t.match(await store.getFile('file-in'), { id: 'file-in' });
    await clock.advance(61_000);
    await store.expireFiles();
    t.equal(await store.getFile('file-in'), null);
    t.equal(await contentOf(store, 'file-in'), 'abc', 'the check can go on');
    await store.appendChunk('batch_1', chunk(0, 1, 1));
    await store.passValidation('batch_1', 3);
    t.equal(await contentOf(store, 'file-in'), null);
    await store.expireFiles();
    t.match(await store.getBatch('batch_1'), { inputFileId: 'file-in', status: 'in_progress' });
    await storedFile(store, 'file-other');
    await store.createFileBatch('batch_2', fileBatch({ inputFileId: 'file-other' }));
    await store.failValidation('batch_2', []);
    t.equal(await store.deleteFile('file-other'), 'deleted');
  });

  t.test('an upload as it is begins at its commit, with results that can be read as files', async (t) => {
    const { store, clock } = await open(t);
    await store.beginUpload('batch_1', null);
    await store.appendChunk('batch_1', chunk(0, 1, 1));
    await clock.advance(2_000);
    const upload = { options, metadata: null, inputBytes: 1, requestHash: null };
    t.match(await store.commitUpload('batch_1', upload), {
      endpoint: '/v1/chat/completions',
      inputFileId: null,
      errors: null,
      createdAt: seconds(clock),
      inProgressAt: seconds(clock),
      outputBytes: 0,
      errorBytes: 0,
      resultFilesExpireAt: null,
    });
    await endLines(store, 'batch_1', [sized(1, 'succeeded', 42)]);
    t.match(await store.getFile(resultFileId('batch_1', 'output')), { bytes: 42, expiresAt: null });
  });
}

function resultConformance(t: Test, open: Open): void {
  const [OUTPUT, ERRORS] = [resultFileId('batch_1', 'output'), resultFileId('batch_1', 'error')];

  t.test('results are read as files as soon as something stands in them', async (t) => {
    const { store, clock } = await open(t);
    await clock.advance(1_000);
    await checkedBatch(store, 'batch_1', 3, { outputLifeSeconds: 3600 });
    const begunAt = seconds(clock);
    t.equal(await store.getFile(OUTPUT), null);
    t.equal(await store.getFile(ERRORS), null);
    t.same(await idsOf(store, { purpose: 'batch_output' }), []);
    await clock.advance(1_000);
    await endLines(store, 'batch_1', [sized(2, 'succeeded', 20)]);
    const output = {
      id: OUTPUT,
      purpose: 'batch_output',
      filename: 'batch_1_output.jsonl',
      bytes: 20,
      createdAt: begunAt,
      expiresAt: null,
    };
    t.same(await store.getFile(OUTPUT), output);
    t.equal(await store.getFile(ERRORS), null);
    t.same((await store.listFiles({ ...FIRST_PAGE, purpose: 'batch_output' })).files, [output]);
    await clock.advance(1_000);
    await endLines(store, 'batch_1', [sized(1, 'failed', 7), sized(3, 'succeeded', 5)]);
    const endedAt = seconds(clock);
    const times = { createdAt: endedAt, expiresAt: endedAt + 3600 };
    const error = { ...output, id: ERRORS, filename: 'batch_1_error.jsonl', bytes: 7, ...times };
    t.same(await store.getFile(OUTPUT), { ...output, bytes: 25, ...times });
    t.same(await store.getFile(ERRORS), error);
    t.match(await store.getBatch('batch_1'), {
      outputBytes: 25,
      errorBytes: 7,
      resultFilesExpireAt: endedAt + 3600,
    });
    t.equal(await store.readFilePiece(OUTPUT, 0), null, 'it has no pieces');
    await t.rejects(store.createFileBatch('batch_2', fileBatch({ inputFileId: OUTPUT })), {
      code: 'file_not_found',
    });
    await store.deleteBatch('batch_1');
    t.equal(await store.getFile(OUTPUT), null);
    t.same(await idsOf(store), ['file-in']);
    t.equal(await store.deleteFile(OUTPUT), null);
  });

  t.test('what belongs in a file is read by seq, with what the model server answered', async (t) => {
    const { store } = await open(t);
    await checkedBatch(store, 'batch_1', 5);
    const answer = { status: 200, body: '{"id":"chatcmpl-1","choices":[]}' };
    const refusal = { status: 400, body: '{"error":{"message":"søt"}}' };
    await endLines(store, 'batch_1', [
      { ...record(3), response: answer },
      { ...record(1, 'failed'), response: refusal },
      record(5, 'expired'),
      record(2),
      record(4, 'cancelled'),
    ]);
    const read = (kind: ResultFileKind, afterSeq = 0, limit = 10) =>
      store.readResponses('batch_1', { kind, afterSeq, limit });
    const seqs = async (...page: Parameters<typeof read>) => (await read(...page)).map(({ seq }) => seq);
    t.match(await read('output'), [
      { seq: 1, line: 3, status: 'succeeded', response: answer },
      { seq: 4, line: 2, status: 'succeeded', response: null },
    ]);
    t.match(await read('error'), [
      { seq: 2, line: 1, status: 'failed', response: refusal },
      { seq: 3, line: 5, status: 'expired', response: null },
      { seq: 5, line: 4, status: 'cancelled', response: null },
    ]);
    t.same(JSON.parse((await read('error'))[0]!.body), {
      seq: 2,
      line: 1,
      custom_id: 'q1',
      status: 'failed',
    });
    t.same(await seqs('error', 2, 1), [3]);
    t.same(await seqs('output', 4), []);
    await t.rejects(store.readResponses('unknown', { kind: 'output', afterSeq: 0, limit: 1 }), {
      code: 'batch_not_found',
    });
  });

  t.test('a page of large answers ends early, and the next one goes on', async (t) => {
    const { store } = await open(t);
    await checkedBatch(store, 'batch_1', 4);
    const response = { status: 200, body: JSON.stringify('x'.repeat(200_000)) };
    await endLines(
      store,
      'batch_1',
      [1, 2, 3, 4].map((line) => ({ ...record(line), response })),
    );
    const lines: number[] = [];
    const pages: number[] = [];
    for (let afterSeq = 0; ; ) {
      const page = await store.readResponses('batch_1', { kind: 'output', afterSeq, limit: 100 });
      if (page.length === 0) break;
      pages.push(page.length);
      lines.push(...page.map(({ line }) => line));
      afterSeq = page.at(-1)!.seq;
    }
    t.same(lines, [1, 2, 3, 4]);
    t.same(pages, [2, 2]);
  });

  t.test('a retry moves what it replaces out of its file, and nothing else', async (t) => {
    const { store } = await open(t);
    await checkedBatch(store, 'batch_1', 4);
    const sizes = async () => {
      const batch = await store.getBatch('batch_1');
      t.equal(batch?.outputBytes, await bytesIn(store, 'batch_1', 'output'));
      t.equal(batch?.errorBytes, await bytesIn(store, 'batch_1', 'error'));
      return [batch?.outputBytes, batch?.errorBytes];
    };
    await endLines(store, 'batch_1', [
      sized(1, 'succeeded', 1000),
      sized(2, 'failed', 100),
      sized(3, 'failed', 10),
      sized(4, 'failed', 1),
    ]);
    t.same(await sizes(), [1000, 111]);
    await store.retryBatch('batch_1', FAILED);
    t.same(await sizes(), [1000, 111], 'they stand in their file until they are replaced');
    await endLines(store, 'batch_1', [sized(2, 'succeeded', 2000), sized(3, 'failed', 30)]);
    t.same(await sizes(), [3000, 31]);
    t.match(await store.getFile(ERRORS), { bytes: 31 });
    await endLines(store, 'batch_1', [sized(4, 'succeeded', 4000)]);
    t.same(await sizes(), [7000, 30]);
    await store.retryBatch('batch_1', ALL_LINES);
    await endLines(store, 'batch_1', [
      sized(1, 'failed', 500),
      sized(2, 'succeeded', 20_000),
      sized(3, 'succeeded', 3),
    ]);
    t.same(await sizes(), [25_003, 0], 'a failed run replaces no success');
    t.equal(await store.getFile(ERRORS), null, 'nothing stands in it any more');
    await store.requestCancel('batch_1');
    await endLines(store, 'batch_1', [sized(4, 'cancelled', 9)]);
    t.same(await sizes(), [25_003, 0]);
  });

  t.test('a line that has its record of this run adds nothing to a file', async (t) => {
    const { store } = await open(t);
    await checkedBatch(store, 'batch_1', 2);
    await endLines(store, 'batch_1', [sized(1, 'succeeded', 10), sized(1, 'failed', 5)]);
    await endLines(store, 'batch_1', [sized(1, 'succeeded', 3)]);
    t.match(await store.getBatch('batch_1'), { outputBytes: 10, errorBytes: 0 });
  });

  t.test('tokens of reasoning are summed over all records', async (t) => {
    const { store } = await open(t);
    await checkedBatch(store, 'batch_1', 2);
    await endLines(store, 'batch_1', [
      { ...record(1), reasoningTokens: 30 },
      { ...record(2, 'failed'), reasoningTokens: 4 },
    ]);
    await store.retryBatch('batch_1', FAILED);
    await endLines(store, 'batch_1', [{ ...record(2), reasoningTokens: 5 }]);
    t.match(await store.getBatch('batch_1'), { usage: { reasoningTokens: 39 } });
  });

  t.test('results of a batch are deleted as a file once it has ended, and stay deleted', async (t) => {
    const { store } = await open(t);
    await checkedBatch(store, 'batch_1', 2);
    await endLines(store, 'batch_1', [sized(1, 'failed', 5)]);
    t.equal(await store.deleteFile(ERRORS), 'in_use');
    t.equal(await store.deleteFile(OUTPUT), null, 'nothing stands in it yet');
    await endLines(store, 'batch_1', [sized(2, 'succeeded', 7)]);
    t.equal(await store.deleteFile(ERRORS), 'deleted');
    t.equal(await store.deleteFile(ERRORS), null);
    const left = { status: 'completed', outputBytes: 7, errorBytes: null, lineCounts: { failed: 1 } };
    t.match(await store.getBatch('batch_1'), left);
    t.same(await idsOf(store, { purpose: 'batch_output' }), [OUTPUT]);
    t.equal((await store.readRecords('batch_1', { afterSeq: 0, limit: 9, currentOnly: true })).length, 2);
    await store.retryBatch('batch_1', ALL_LINES);
    t.equal(await store.deleteFile(OUTPUT), 'in_use', 'it is added to again');
    await endLines(store, 'batch_1', [sized(1, 'failed', 6), sized(2, 'succeeded', 8)]);
    t.match(await store.getBatch('batch_1'), { ...left, outputBytes: 8 });
    t.equal(await store.getFile(ERRORS), null);
    t.same(await idsOf(store, { purpose: 'batch_output' }), [OUTPUT]);
  });

  t.test('results expire as files, and the batch stays', async (t) => {
    const { store, clock } = await open(t);
    for (const [id, swept] of [
      ['batch_1', true],
      ['batch_2', false],
    ] as const) {
      await checkedBatch(store, id, 2, { outputLifeSeconds: 60 });
      await clock.advance(120_000);
      await store.expireFiles();
      await endLines(store, id, [sized(1, 'failed', 5), sized(2, 'succeeded', 7)]);
      await clock.advance(59_000);
      t.match(await store.getFile(resultFileId(id, 'output')), { bytes: 7 }, 'its time begins at the end');
      await clock.advance(1_000);
      if (swept) await store.expireFiles();
      t.equal(await store.getFile(resultFileId(id, 'output')), null);
      t.equal(await store.getFile(resultFileId(id, 'error')), null);
      t.equal(await store.deleteFile(resultFileId(id, 'error')), null);
      t.same(await idsOf(store, { purpose: 'batch_output' }), []);
      const gone = { outputBytes: null, errorBytes: null, lineCounts: { succeeded: 1, failed: 1 } };
      t.match(await store.getBatch(id), gone);
      t.match((await store.listBatches({ after: null, limit: 1 })).batches, [gone]);
      await store.retryBatch(id, FAILED);
      t.match(await store.getBatch(id), { status: 'in_progress', outputBytes: null, errorBytes: null });
      await endLines(store, id, [sized(1, 'succeeded', 1)]);
      t.equal(await store.getFile(resultFileId(id, 'output')), null, 'a retry does not bring it back');
    }
  });
}

function listConformance(t: Test, open: Open): void {
  /** Files of both kinds, some of them of the same second. */
  async function mixed({ store, clock }: StoreUnderTest): Promise<string[]> {
    await storedFile(store, 'file-in');
    await clock.advance(1_000);
    for (const id of ['file-b', 'file-a']) await storedFile(store, id);
    await checkedBatch(store, 'batch_1', 2);
    await endLines(store, 'batch_1', [record(1), record(2, 'failed')]);
    await clock.advance(1_000);
    await checkedBatch(store, 'batch_2', 2);
    await endLines(store, 'batch_2', [record(1)]);
    await clock.advance(1_000);
    await storedFile(store, 'file-c');
    return [
      'file-in',
      'file-a',
      'file-b',
      resultFileId('batch_1', 'error'),
      resultFileId('batch_1', 'output'),
      resultFileId('batch_2', 'output'),
      'file-c',
    ];
  }

  async function walk(store: Store, page: Omit<FilePage, 'after'>): Promise<string[]> {
    const found: string[] = [];
    for (let after: string | null = null; ; after = found.at(-1) ?? null) {
      const { files, hasMore } = await store.listFiles({ ...page, after });
      found.push(...files.map(({ id }) => id));
      if (!hasMore) return found;
    }
  }

  t.test('uploaded files and results are listed together, by creation, both ways, in pages', async (t) => {
    const under = await open(t);
    const { store } = under;
    const all = await mixed(under);
    for (const limit of [1, 2, 3, 100]) {
      t.same(await walk(store, { purpose: null, limit, order: 'asc' }), all, `${limit} up`);
      t.same(await walk(store, { purpose: null, limit, order: 'desc' }), all.toReversed(), `${limit} down`);
      const isResult = (id: string) => /^file-(output|error)-/.test(id);
      t.same(await walk(store, { purpose: 'batch_output', limit, order: 'asc' }), all.filter(isResult));
      t.same(
        await walk(store, { purpose: 'batch', limit, order: 'desc' }),
        all.filter((id) => !isResult(id)).toReversed(),
      );
    }
    const whole = await store.listFiles({ ...FIRST_PAGE, limit: all.length });
    t.notOk(whole.hasMore);
    for (const file of whole.files) t.same(await store.getFile(file.id), file);
  });

  t.test('a page after a file that nobody knows is refused', async (t) => {
    const under = await open(t);
    const { store } = under;
    await mixed(under);
    await store.beginFile('file-uploading');
    const unknown = ['file-x', 'file-uploading', 'batch_1', resultFileId('batch_9', 'output')];
    for (const after of [...unknown, resultFileId('batch_2', 'error')]) {
      await t.rejects(store.listFiles({ ...FIRST_PAGE, after }), { code: 'file_not_found' }, after);
    }
  });

  t.test('whoever deletes what he lists misses none', async (t) => {
    const under = await open(t);
    const { store } = under;
    const all = await mixed(under);
    await store.requestCancel('batch_2');
    await endLines(store, 'batch_2', [record(2, 'cancelled')]);
    const seen: string[] = [];
    for (let after: string | null = null; ; ) {
      const { files, hasMore } = await store.listFiles({ ...FIRST_PAGE, after, limit: 2 });
      for (const { id } of files) t.equal(await store.deleteFile(id), 'deleted');
      seen.push(...files.map(({ id }) => id));
      after = seen.at(-1)!;
      if (!hasMore) break;
    }
    t.same(new Set(seen), new Set([...all, resultFileId('batch_2', 'error')]));
    t.same(await idsOf(store), []);
  });
}
