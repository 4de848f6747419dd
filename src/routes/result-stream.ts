// The result log as a stream: read in short pages, written as fast as the client takes it, and while the batch runs
// waiting for more. It ends cleanly only after the batch's last record; everything else breaks the connection, so
// that a part is never mistaken for the whole.

import { isTerminal } from '../domain/batch-status.ts';
import type { StoredRecord } from '../domain/record.ts';
import { RagmillError } from '../errors.ts';
import type { Store } from '../store/store.ts';

export interface ResultQuery {
  readonly batchId: string;
  /** Cursor: a seq, or with `order: 'input'` a line number. */
  readonly after: number;
  readonly order: 'completion' | 'input';
  /** `failed`: everything that did not succeed. */
  readonly status: 'succeeded' | 'failed' | null;
  /** true: stay until the batch has ended; false: what is there now. */
  readonly follow: boolean;
}

const PAGE_RECORDS = 256;

/** Yields whole lines. Throws when `signal` aborts or the batch is gone. */
export async function* streamResults(
  store: Store,
  query: ResultQuery,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const changes = new ChangeFlag(signal);
  const unwatch = store.watch(query.batchId, () => changes.raise());
  try {
    let after = query.after;
    for (;;) {
      signal.throwIfAborted();
      changes.lower();
      // Read before the page: if the batch had ended by then, an empty page is the end of its log.
      const batch = await store.getBatch(query.batchId);
      if (!batch) throw new RagmillError('batch_not_found', `The batch ${query.batchId} is gone.`);
      const page = await readPage(store, query, after);
      const last = page.at(-1);
      if (last) {
        after = query.order === 'input' ? last.line : last.seq;
        const wanted = page.filter((record) => isWanted(record, query.status));
        if (wanted.length > 0) yield Buffer.from(wanted.map((record) => `${record.body}\n`).join(''));
      } else if (!query.follow || isTerminal(batch.status)) {
        return;
      } else {
        await changes.raised();
      }
    }
  } finally {
    unwatch();
  }
}

function readPage(store: Store, query: ResultQuery, after: number): Promise<StoredRecord[]> {
  return query.order === 'input'
    ? store.readRecordsInInputOrder(query.batchId, {
        afterLine: after,
        limit: PAGE_RECORDS,
        stopAtGap: query.follow,
      })
    : store.readRecords(query.batchId, {
        afterSeq: after,
        limit: PAGE_RECORDS,
        currentOnly: query.status !== null,
      });
}

function isWanted(record: StoredRecord, status: ResultQuery['status']): boolean {
  if (status === null) return true;
  return (record.status === 'succeeded') === (status === 'succeeded');
}

/** Remembers a change that comes between a look and the wait for the next one. */
class ChangeFlag {
  #isRaised = false;
  #wake: () => void = () => {};

  constructor(signal: AbortSignal) {
    signal.addEventListener('abort', () => this.raise(), { once: true });
  }

  raise(): void {
    this.#isRaised = true;
    this.#wake();
  }

  lower(): void {
    this.#isRaised = false;
  }

  async raised(): Promise<void> {
    if (this.#isRaised) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }
}
