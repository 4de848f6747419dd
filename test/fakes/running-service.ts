// The whole service in this process, on a free port, with its own data folder and corpus; and a client of its API.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import pino from 'pino';
import type { Test } from 'tap';
import { type App, startApp } from '../../src/app.ts';
import { readSettings } from '../../src/config.ts';
import { systemClock } from '../../src/time.ts';
import { until } from './until.ts';

/** Documents that differ in every word, so that each question has one right answer. */
const corpus = [
  {
    id: 'lens',
    title: 'Lighthouse',
    text: 'The keeper polishes the lens every morning before the fog lifts.',
  },
  { id: 'ice', title: 'Glaciers', text: 'Moving ice carves valleys slowly and leaves moraines behind.' },
  { id: 'bread', title: 'Sourdough', text: 'A starter wants flour and water each day.' },
  { id: 'violin', title: 'Violins', text: 'Makers varnish spruce and maple with amber resin.' },
  { id: 'geese', title: 'Geese', text: 'Migrating birds steer by stars and by coastlines.' },
];

export interface BatchAnswer {
  readonly id: string;
  readonly status: string;
  readonly last_seq: number;
  readonly line_counts: Readonly<Record<string, number>>;
  readonly rag_counts: Readonly<Record<string, number>>;
  readonly request_counts: Readonly<Record<string, number>>;
  readonly progress: { readonly waiting_for: string | null };
  readonly options: Readonly<Record<string, unknown>>;
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly collection_generations: readonly number[];
}

export interface ResultLine {
  readonly seq: number;
  readonly line: number;
  readonly custom_id: string | null;
  readonly status: string;
  readonly answer: string | null;
  readonly metadata: unknown;
  readonly rag: { readonly status: string; readonly documents: readonly { readonly id: string }[] } | null;
  readonly generation: { readonly endpoint: string; readonly attempts: number } | null;
  readonly error: { readonly code: string; readonly message: string; readonly stage: string } | null;
}

/** Writes the corpus to a file of its own, which goes with the test. */
export function corpusFile(t: Pick<Test, 'teardown'>): string {
  const folder = mkdtempSync(join(tmpdir(), 'ragmill-corpus-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'corpus.jsonl');
  writeFileSync(path, corpus.map((document) => JSON.stringify(document)).join('\n'));
  return path;
}

/** `count` questions, in turn about the documents of the corpus. */
export function questions(count: number): string {
  const asked = ['keeper lens', 'ice valleys', 'starter flour', 'makers resin', 'birds stars'];
  return Array.from({ length: count }, (_, index) =>
    JSON.stringify({ custom_id: `q${index + 1}`, query: `What about ${asked[index % asked.length]}?` }),
  ).join('\n');
}

export class RunningService {
  readonly app: App;

  constructor(app: App) {
    this.app = app;
  }

  fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetch(`${this.app.url}${path}`, init);
  }

  async get<T>(path: string): Promise<T> {
    return (await this.fetch(path)).json() as Promise<T>;
  }

  post(lines: string, query = ''): Promise<Response> {
    const init = { method: 'POST', headers: { 'content-type': 'application/x-ndjson' }, body: lines };
    return this.fetch(`/batches${query}`, init);
  }

  /** Uploads and expects it to be taken. */
  async upload(lines: string, query = ''): Promise<BatchAnswer> {
    const answer = await this.post(lines, query);
    if (answer.status !== 201) throw new Error(`refused: ${await answer.text()}`);
    return (await answer.json()) as BatchAnswer;
  }

  batch(id: string): Promise<BatchAnswer> {
    return this.get(`/batches/${id}`);
  }

  /** Result lines as they stream. */
  async *results(id: string, query = ''): AsyncGenerator<ResultLine> {
    const answer = await this.fetch(`/batches/${id}/results${query}`);
    if (!answer.body) throw new Error('the answer has no body');
    const input = Readable.fromWeb(answer.body);
    try {
      for await (const line of createInterface({ input })) yield JSON.parse(line) as ResultLine;
      if (input.errored) throw input.errored;
    } finally {
      input.destroy();
    }
  }

  allResults(id: string, query = ''): Promise<ResultLine[]> {
    return Array.fromAsync(this.results(id, query));
  }

  async metric(name: string): Promise<number> {
    const text = await (await this.fetch('/metrics')).text();
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
    if (line === undefined) throw new Error(`no metric ${name}`);
    return Number(line.split(' ')[1]);
  }

  ready(): Promise<void> {
    return until('the service to be ready', async () => (await this.fetch('/readyz')).status === 200);
  }
}

let collections = 0;

/** Starts it: it listens, and is on its way to being ready. It stops with the test. */
export async function launchService(
  t: Test,
  settings: Readonly<Record<string, string>>,
): Promise<RunningService> {
  const folder = mkdtempSync(join(tmpdir(), 'ragmill-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  collections += 1;
  const app = await startApp({
    settings: readSettings({
      PORT: '0',
      DATA_DIR: join(folder, 'data'),
      CORPUS_PATH: corpusFile(t),
      CHROMA_COLLECTION: `test-${process.pid}-${collections}`,
      SHUTDOWN_GRACE_MS: '100',
      GENERATION_THREADS: '1',
      ...settings,
    }),
    log: pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' }),
    clock: systemClock,
  });
  t.teardown(() => app.stop());
  return new RunningService(app);
}

/** Starts it and waits until it is ready. */
export async function startService(
  t: Test,
  settings: Readonly<Record<string, string>>,
): Promise<RunningService> {
  const service = await launchService(t, settings);
  await service.ready();
  return service;
}
