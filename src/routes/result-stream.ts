// The result log as a stream: read in short pages, and while the batch runs waiting for more. It ends cleanly only
// after the batch's last record; everything else throws.

import { isTerminal } from '../domain/batch-status.ts';
import type { StoredRecord } from '../domain/record.ts';
import { RagmillError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../time.ts';
import { ChangeFlag } from './change-flag.ts';
import { withIncluded } from './result-include.ts';
import type { ResultView } from './result-query.ts';
import type { Turns } from './turns.ts';

export interface ResultRequest extends ResultView {
  readonly batchId: string;
  /** true: stay until the batch has ended; false: what is there now. */
  readonly follow: boolean;
  /** Of a finished batch its last seq: a retry that begins meanwhile makes the answer no longer. null: open end. */
  readonly upToSeq: number | null;
}

export interface ResultsEnd {
  /** Cursor behind everything that was looked at, whether it was wanted or not. */
  readonly cursor: number;
  readonly status: string;
  readonly lastSeq: number;
}

/** The bytes of a page of records. */
export type PageFormat = (records: readonly StoredRecord[], view: ResultView) => Buffer;

interface Sources {
  readonly store: Store;
  readonly clock: Clock;
  readonly turns: Turns;
  readonly format: PageFormat;
}

const PAGE_RECORDS = 256;
/** After news, so that what comes together is read together: with every look the pages of the database are read anew. */
const GATHERING_MS = 20;
/** With what stands beside them: at worst each record's chunk has to be unpacked for it. */
const INCLUDING_PAGE_RECORDS = 16;

/** Yields whole records, page by page. Throws when `signal` aborts or the batch is gone. */
export async function* streamResults(
  sources: Sources,
  request: ResultRequest,
  signal: AbortSignal,
): AsyncGenerator<Buffer, ResultsEnd> {
  const { store, turns, clock } = sources;
  const changes = new ChangeFlag(signal);
  const unwatch = store.watch(request.batchId, () => changes.raise());
  try {
    let cursor = request.after;
    /** Where the log ended when the batch was last looked at; null: it had not ended. */
    let endedAt: number | null = null;
    for (;;) {
      await turns.next();
      signal.throwIfAborted();
      changes.lower();
      const page = await readPage(sources, request, cursor);
      if (page !== null) {
        cursor = page.cursor;
        // While the reader takes its time, the bytes are all that is kept of the page.
        if (page.bytes.length > 0) yield page.bytes;
        continue;
      }
      const batch = await store.getBatch(request.batchId);
      if (!batch) throw new RagmillError('batch_not_found', `The batch ${request.batchId} is gone.`);
      // Records may have come after the page: only where the batch had ended before, an empty page is the end.
      if (!request.follow || request.upToSeq !== null || batch.lastSeq === endedAt) {
        return { cursor, status: batch.status, lastSeq: request.upToSeq ?? batch.lastSeq };
      }
      endedAt = isTerminal(batch.status) ? batch.lastSeq : null;
      if (endedAt !== null) continue;
      await changes.raised();
      await clock.sleep(GATHERING_MS, signal);
    }
  } finally {
    unwatch();
  }
}

/** null: there is nothing above the cursor. */
async function readPage(
  { store, format }: Sources,
  request: ResultRequest,
  cursor: number,
): Promise<{ bytes: Buffer; cursor: number } | null> {
  const records = await readRecords(store, request, cursor);
  if (request.upToSeq !== null && request.currentOnly) await expectUnchanged(store, request);
  const last = records.at(-1);
  if (!last) return null;
  const chosen = records.filter((record) => isWanted(record, request.status));
  const wanted = await withIncluded(store, request.batchId, chosen, request.include);
  return {
    bytes: wanted.length > 0 ? format(wanted, request) : Buffer.alloc(0),
    cursor: request.order === 'input' ? last.line : last.seq,
  };
}

function readRecords(store: Store, request: ResultRequest, cursor: number): Promise<StoredRecord[]> {
  const { batchId, upToSeq, currentOnly, include } = request;
  const limit = include.size > 0 ? INCLUDING_PAGE_RECORDS : PAGE_RECORDS;
  if (request.order === 'input') {
    const stopAtGap = request.follow && upToSeq === null;
    return store.readRecordsInInputOrder(batchId, { afterLine: cursor, limit, stopAtGap });
  }
  const bound = upToSeq === null ? {} : { upToSeq };
  return store.readRecords(batchId, { afterSeq: cursor, limit, currentOnly, ...bound });
}

/** Which records are current changes with every record of a retry: two halves of two answers make no whole. */
async function expectUnchanged(store: Store, { batchId, upToSeq }: ResultRequest): Promise<void> {
  const batch = await store.getBatch(batchId);
  if (batch?.lastSeq === upToSeq) return;
  throw new RagmillError('batch_not_found', `The results of ${batchId} changed while they were read.`);
}

function isWanted(record: StoredRecord, status: ResultView['status']): boolean {
  if (status === null) return true;
  return (record.status === 'succeeded') === (status === 'succeeded');
}
