// The HTTP face over a real store, without a scheduler: what intake takes stays where it is.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { pino } from 'pino';
import type { Test } from 'tap';
import { GpuPool } from '../../src/gpu-pool/gpu-pool.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createHttpServer } from '../../src/routes/http-server.ts';
import type { Services } from '../../src/routes/services.ts';
import { UploadAdmission } from '../../src/routes/upload-admission.ts';
import type { SqliteStore } from '../../src/store/sqlite-store.ts';
import { systemClock } from '../../src/time.ts';
import { options } from './batch-fixtures.ts';
import { NO_GPUS } from './pool-fixtures.ts';
import { recordingLog } from './recording-log.ts';
import { scratchStore } from './scratch-store.ts';

export interface IntakeAnswer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the service answers
  readonly body: any;
}

export class IntakeServer {
  readonly url: string;
  readonly store: SqliteStore;
  readonly services: Services;

  constructor(url: string, store: SqliteStore, services: Services) {
    this.url = url;
    this.store = store;
    this.services = services;
  }

  async post(
    body: NonNullable<RequestInit['body']> | null,
    headers: Record<string, string> = {},
    query = '',
  ): Promise<IntakeAnswer> {
    const isForm = body instanceof FormData;
    const type: Record<string, string> = isForm ? {} : { 'content-type': 'application/x-ndjson' };
    const answer = await fetch(`${this.url}/batches${query}`, {
      method: 'POST',
      headers: { ...type, ...headers },
      body,
      ...(body instanceof ReadableStream ? { duplex: 'half' } : {}),
    } as RequestInit);
    return { status: answer.status, headers: answer.headers, body: await answer.json() };
  }

  /** A connection on which a test says each byte itself. */
  async connect(head: string): Promise<Socket> {
    const socket = connect(Number(new URL(this.url).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.on('error', () => {});
    socket.write(`POST /batches HTTP/1.1\r\nhost: 127.0.0.1\r\n${head}\r\n`);
    return socket;
  }

  /** How many uploads were refused, for whatever reason. */
  async refused(): Promise<number> {
    const { values } = await this.services.metrics.uploadsRejected.get();
    return values.reduce((sum, { value }) => sum + value, 0);
  }

  /** Batches that can be seen. */
  async stored(): Promise<number> {
    return (await this.store.listBatches({ after: null, limit: 1000 })).batches.length;
  }
}

/** Lives as long as the test. */
export async function startIntake(
  t: Pick<Test, 'teardown'>,
  altered: Partial<Services> = {},
): Promise<IntakeServer> {
  const store = (altered.store as SqliteStore | undefined) ?? (await scratchStore(t));
  const services = {
    store,
    // Nothing is claimed: what would run is another test's.
    scheduler: { nudge() {}, linesPerSecond: () => 0 } as unknown as Services['scheduler'],
    pool: new GpuPool({
      candidates: [],
      gpus: NO_GPUS,
      window: 1,
      inspect: () => Promise.reject(new Error('there is no endpoint')),
      tryOut: () => Promise.reject(new Error('there is no endpoint')),
      clock: systemClock,
      log: recordingLog().log,
    }),
    collection: {
      name: 'ragmill',
      live: null,
      bootstrapState: null,
      corpus: null,
      waitingFor: 'Chroma to start',
    },
    metrics: createMetrics('0.0.0'),
    readiness: () => ({ isReady: true, reasons: [], degraded: [], collectionGeneration: 1 }),
    waitingFor: () => null,
    defaultOptions: options,
    defaultSystemPrompt: 'Answer.',
    fileCheck: { nudge() {} },
    fileLifeSeconds: null,
    startedAt: 1_700_000_000,
    uploadLimits: { maxBatchLines: 1_000_000, maxBatchBytes: 2 ** 32, maxLineBytes: 2 ** 20 },
    uploadAdmission: new UploadAdmission(8),
    checkUploadRoom: async () => {},
    estimateBasis: () => ({
      defaultSystemPrompt: 'Answer.',
      passageCharacters: 1500,
      linesPerSecond: null,
    }),
    clock: systemClock,
    beforeScrape: async () => {},
    draining: new AbortController().signal,
    closing: new AbortController().signal,
    ...altered,
  } satisfies Services;
  const log = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' });
  const http = await createHttpServer({ services, version: '0.0.0', log, isLoopback: true });
  const url = await http.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => {
    http.server.closeAllConnections();
    await http.close();
    services.metrics.registry.clear();
  });
  return new IntakeServer(url, store, services);
}
