// The HTTP face over a real store that a test fills by hand: no scheduler, no models, a real socket.

import type { AddressInfo } from 'node:net';
import pino from 'pino';
import type { Test } from 'tap';
import type { NewRecord, RecordStatus } from '../../src/domain/record.ts';
import { createMetrics, type Metrics } from '../../src/metrics.ts';
import { createHttpServer } from '../../src/routes/http-server.ts';
import type { Services } from '../../src/routes/services.ts';
import type { Store } from '../../src/store/store.ts';
import { type Clock, systemClock } from '../../src/time.ts';
import { chunk, options, record } from './batch-fixtures.ts';
import { scratchStore } from './scratch-store.ts';

export interface ResultsServer {
  readonly url: string;
  readonly port: number;
  readonly store: Store;
  readonly metrics: Metrics;
  /** Ends all streams, as a stop does. */
  readonly closing: AbortController;
  /** What `progress.waiting_for` says. */
  waitingFor: string | null;
  streams(): Promise<number>;
}

interface ResultsServerOptions {
  readonly clock?: Clock;
  readonly store?: Store;
}

export async function startResultsServer(
  t: Pick<Test, 'teardown'>,
  { clock = systemClock, store }: ResultsServerOptions = {},
): Promise<ResultsServer> {
  const used = store ?? (await scratchStore(t));
  const metrics = createMetrics('0.0.0');
  const closing = new AbortController();
  const state = { waitingFor: null as string | null };
  const services = {
    store: used,
    clock,
    metrics,
    scheduler: { linesPerSecond: () => 0 },
    waitingFor: () => state.waitingFor,
    closing: closing.signal,
    draining: closing.signal,
  } as unknown as Services;
  const log = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' });
  const app = await createHttpServer({ services, version: '0.0.0', log, isLoopback: false });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => {
    closing.abort(new Error('closing'));
    app.server.closeAllConnections();
    await app.close();
    metrics.registry.clear();
  });
  const { port } = app.server.address() as AddressInfo;
  return Object.assign(state, {
    url: `http://127.0.0.1:${port}`,
    port,
    store: used,
    metrics,
    closing,
    streams: async () => (await metrics.resultStreams.get()).values[0]?.value ?? 0,
  });
}

let batches = 0;

/** A batch of one chunk of so many lines, leased: `finish` writes the records of some. */
export async function leasedBatch(store: Store, lineCount: number) {
  batches += 1;
  const id = `batch_${batches}`;
  await store.beginUpload(id, null);
  // The store has no limit of its own for a chunk's lines.
  await store.appendChunk(id, chunk(0, 1, lineCount));
  await store.commitUpload(id, { options, metadata: null, inputBytes: 1, requestHash: null });
  const claimed = await store.claimChunk(id);
  if (!claimed) throw new Error('nothing to claim');
  const { lease } = claimed;
  return {
    id,
    lease,
    finish: (...records: readonly NewRecord[]) => store.appendRecords(lease, records, new Map()),
  };
}

/** Begins a run of these lines of a finished batch; `finish` writes their records. */
export async function retriedBatch(store: Store, id: string, lines: readonly number[]) {
  const customIds = lines.map((line) => `q${line}`);
  await store.retryBatch(id, {
    statuses: ['succeeded', 'failed', 'cancelled', 'expired'],
    code: null,
    endpoint: null,
    customIds,
  });
  const claimed = await store.claimChunk(id);
  if (!claimed) throw new Error('nothing to claim');
  return {
    finish: (...records: readonly NewRecord[]) => store.appendRecords(claimed.lease, records, new Map()),
  };
}

/** A record of about so many bytes, in more than one script: bytes are not characters. */
export function answered(line: number, bytes: number, status: RecordStatus = 'succeeded'): NewRecord {
  const words = `Antwort ${line}: Größe 答え 🚢 `;
  const answer = words.repeat(Math.ceil(bytes / Buffer.byteLength(words)));
  return { ...record(line, status), body: JSON.stringify({ line, custom_id: `q${line}`, status, answer }) };
}

/** A batch whose every line is answered, in an order that is not the lines', with bodies of all sizes. */
export async function finishedBatch(store: Store, lineCount: number, maxBytes: number): Promise<string> {
  const batch = await leasedBatch(store, lineCount);
  const order = Array.from({ length: lineCount }, (_, index) => ((index * 211) % lineCount) + 1);
  await batch.finish(
    ...order.map((line) => answered(line, (line * 7919) % maxBytes, line % 5 === 0 ? 'failed' : 'succeeded')),
  );
  return batch.id;
}
