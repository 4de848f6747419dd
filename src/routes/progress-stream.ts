// The progress of a batch as events: what is now, then every change, at most one a second, and the end.

import { isTerminal } from '../domain/batch-status.ts';
import { RagmillError } from '../errors.ts';
import { toBatchObject } from './batch-object.ts';
import { ChangeFlag } from './change-flag.ts';
import { eventText } from './server-sent-events.ts';
import type { Services } from './services.ts';

/** Between two events of one stream, in milliseconds. */
const SPACING_MS = 1_000;

/** The rate falls and model servers go although no record comes: so often it is looked at, in milliseconds. */
const LOOK_MS = 5_000;

/** The id of the last event; who connects again with it has seen the end. It changes when a retry appends. */
export function endId(lastSeq: number): string {
  return `end-${lastSeq}`;
}

/** Ends when the batch has. Throws when `signal` aborts or the batch is gone. */
export async function* streamProgress(
  services: Services,
  batchId: string,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void> {
  const { store, clock } = services;
  const changes = new ChangeFlag(signal);
  const unwatch = store.watch(batchId, () => changes.raise());
  try {
    let sent = '';
    for (;;) {
      signal.throwIfAborted();
      changes.lower();
      const batch = await store.getBatch(batchId);
      if (!batch) throw new RagmillError('batch_not_found', `The batch ${batchId} is gone.`);
      const data = JSON.stringify(progressOf(toBatchObject(batch, services)));
      const isNews = data !== sent;
      sent = data;
      if (isTerminal(batch.status)) {
        const last = isNews ? eventText({ id: null, event: 'progress', data }) : '';
        const ending = JSON.stringify({ status: batch.status, last_seq: batch.lastSeq });
        yield Buffer.from(last + eventText({ id: endId(batch.lastSeq), event: 'end', data: ending }));
        return;
      }
      if (isNews) {
        yield Buffer.from(eventText({ id: null, event: 'progress', data }));
        await clock.sleep(SPACING_MS, signal);
      }
      await changes.raisedWithin(clock, LOOK_MS);
    }
  } finally {
    unwatch();
  }
}

function progressOf(batch: ReturnType<typeof toBatchObject>) {
  const { status, request_counts, line_counts, progress, last_seq, pause_reason } = batch;
  return { status, request_counts, line_counts, progress, last_seq, pause_reason };
}
