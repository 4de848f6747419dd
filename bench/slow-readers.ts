// What readers cost: fifty that take one kilobyte a second of a 100 MB result, then twenty that take all they can.
// Shows how much the service's memory grows, and how long everybody else waits for GET /batches/:id meanwhile.
//
//   npm run bench:readers [megabytes of results]

import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { ServiceProcess } from '../src/cli/service-process.ts';
import { SqliteStore } from '../src/store/sqlite-store.ts';
import { systemClock } from '../src/time.ts';
import { chunk, options, record } from '../test/fakes/batch-fixtures.ts';

const SLOW_READERS = 50;
const SLOW_BYTES_PER_SECOND = 1000;
const FAST_READERS = 20;
const PROBES = 3000;
const RECORD_BYTES = 2000;
const CHUNK_LINES = 256;
const BATCH = 'batch_readers';

if (isMainThread) await main();
else await readForEver(String(workerData));

async function main(): Promise<void> {
  const megabytes = Number(process.argv[2] ?? 100);
  const folder = mkdtempSync(join(tmpdir(), 'ragmill-readers-'));
  await fill(join(folder, 'data'), Math.ceil((megabytes * 1e6) / RECORD_BYTES / CHUNK_LINES));
  const service = new ServiceProcess({ EMBEDDED_MODEL: 'on' }, { folder });
  try {
    await service.ready((reason) => console.log(reason));
    await measure(service.url);
  } finally {
    await service.stop();
  }
}

/** A finished batch, written straight into the store. */
async function fill(dataDir: string, chunks: number): Promise<void> {
  const store = await SqliteStore.open({ dataDir, clock: systemClock });
  await store.beginUpload(BATCH, null);
  for (let number = 0; number < chunks; number += 1) {
    await store.appendChunk(BATCH, chunk(number, number * CHUNK_LINES + 1, CHUNK_LINES));
  }
  await store.commitUpload(BATCH, { options, metadata: null, inputBytes: 1, requestHash: null });
  const answer = 'The keeper polishes the lens every morning before the fog lifts. '.repeat(
    RECORD_BYTES / 65,
  );
  for (let claimed = await store.claimChunk(BATCH); claimed; claimed = await store.claimChunk(BATCH)) {
    const { firstLine, lease } = claimed;
    const lines = Array.from({ length: CHUNK_LINES }, (_, index) => firstLine + index);
    const body = (line: number) => JSON.stringify({ line, custom_id: `q${line}`, answer });
    await store.appendRecords(
      lease,
      lines.map((line) => ({ ...record(line), body: body(line) })),
      new Map(),
    );
  }
  await store.close();
}

async function measure(url: string): Promise<void> {
  // Once through, so that what comes later finds everything compiled and every page in the cache.
  await Promise.all([probe(url, PROBES), drain(await readResults(url))]);
  const watchCalm = watchService(url);
  const calm = await probe(url, PROBES);
  const before = await watchCalm();
  report('without readers', calm, before);

  const slow = await Promise.all(Array.from({ length: SLOW_READERS }, () => readResults(url)));
  const pace = setInterval(() => {
    for (const socket of slow) socket.read(SLOW_BYTES_PER_SECOND);
  }, 1000);
  const watchSlow = watchService(url);
  await sleep(20_000);
  const besideSlow = await probe(url, PROBES);
  const during = await watchSlow();
  report(`${SLOW_READERS} slow readers`, besideSlow, during);
  const ratio = quantile(besideSlow, 0.99) / quantile(calm, 0.99);
  const growth = megabytesOf(during.rss - before.rss);
  const settled = megabytesOf(during.lastRss - before.rss);
  console.log(
    `  growth at most ${growth}, ${settled} at the end; p99 ${ratio.toFixed(2)} times that without`,
  );
  clearInterval(pace);
  for (const socket of slow) socket.destroy();

  // In a thread of its own: what is measured is how long the service is busy, not how long this process is.
  const fast = new Worker(new URL(import.meta.url), { workerData: url });
  await once(fast, 'online');
  await sleep(1000);
  const watchFast = watchService(url);
  report(`${FAST_READERS} fast readers`, await probe(url, PROBES), await watchFast());
  await fast.terminate();
}

async function readForEver(url: string): Promise<void> {
  const reader = async () => {
    for (;;) await drain(await readResults(url));
  };
  await Promise.all(Array.from({ length: FAST_READERS }, reader));
}

/** Asks for the results, and takes nothing yet. */
async function readResults(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  socket.write(`GET /batches/${BATCH}/results HTTP/1.1\r\nhost: ${hostname}\r\nconnection: close\r\n\r\n`);
  return socket;
}

async function drain(socket: Socket): Promise<void> {
  socket.resume();
  await once(socket, 'close');
}

/** Milliseconds of each of so many requests, one after the other; ascending. */
async function probe(url: string, count: number): Promise<number[]> {
  const took: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const startedAt = performance.now();
    const [answer] = await once(get(`${url}/batches/${BATCH}`), 'response');
    answer.resume();
    await once(answer, 'end');
    took.push(performance.now() - startedAt);
  }
  return took.sort((a, b) => a - b);
}

interface Watched {
  /** The most memory seen. */
  readonly rss: number;
  /** The memory at the end, when what was garbage has been collected. */
  readonly lastRss: number;
  /** The longest that a percent of the event loop's rounds took, as the service measures it, in milliseconds. */
  readonly lagMs: number;
}

/** Looks at the service's own metrics until the answered function is called. */
function watchService(url: string): () => Promise<Watched> {
  const stopped = new AbortController();
  const watching = (async () => {
    const seen = { rss: 0, lastRss: 0, lagMs: 0 };
    for (;;) {
      const text = await (await fetch(`${url}/metrics`)).text();
      const value = (name: string) => Number(text.match(new RegExp(`^${name} (.*)$`, 'm'))?.[1]);
      seen.lastRss = value('process_resident_memory_bytes');
      seen.rss = Math.max(seen.rss, seen.lastRss);
      if (stopped.signal.aborted) return seen;
      seen.lagMs = Math.max(seen.lagMs, value('nodejs_eventloop_lag_p99_seconds') * 1000);
      await sleep(500);
    }
  })();
  return () => {
    stopped.abort();
    return watching;
  };
}

function report(what: string, took: readonly number[], { rss, lagMs }: Watched): void {
  const ms = (share: number) => `${quantile(took, share).toFixed(2)} ms`;
  const times = `p50 ${ms(0.5)}, p99 ${ms(0.99)}, worst ${ms(1)}`;
  const lag = `event loop p99 ${lagMs.toFixed(0)} ms`;
  console.log(`${what}: GET /batches/:id ${times}; ${lag}; memory ${megabytesOf(rss)}`);
}

function quantile(ascending: readonly number[], share: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))] ?? Number.NaN;
}

function megabytesOf(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}
