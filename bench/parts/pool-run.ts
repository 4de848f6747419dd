// The service with simulated model servers of its own, and what can be asked about its pool from outside.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServiceProcess } from '../../src/cli/service-process.ts';
import { FollowedBatch } from './followed-batch.ts';
import { cpuMs } from './process-figures.ts';
import type { ServerCounts } from './slot-counts.ts';
import type { SlotServerOptions } from './slot-model-server.ts';
import { SlotModels } from './slot-models.ts';

export type PoolRunOptions = SlotServerOptions & {
  readonly servers: number;
  /** As GPU_CONCURRENCY. */
  readonly window: string;
  /** Further settings of the service; missing: there is no retrieval. */
  readonly settings?: Readonly<Record<string, string>>;
};

const POLL_INTERVAL_MS = 50;

export class PoolRun implements AsyncDisposable {
  readonly service: ServiceProcess;
  readonly models: SlotModels;
  readonly #startedCpuMs: Readonly<Record<'service' | 'models', number>>;
  readonly #startedAtMs = performance.now();

  private constructor(service: ServiceProcess, models: SlotModels) {
    this.service = service;
    this.models = models;
    this.#startedCpuMs = { service: cpuMs(service.pid ?? 0), models: cpuMs(models.pid) };
  }

  /** Resolves when every server is up. */
  static async start(options: PoolRunOptions): Promise<PoolRun> {
    await using opened = new AsyncDisposableStack();
    const models = opened.use(await SlotModels.start(options.servers, options));
    const service = new ServiceProcess({
      GPU_ENDPOINTS: models.endpoints,
      GPU_CONCURRENCY: options.window,
      ...(options.settings ?? { RAG_MODE: 'off' }),
    });
    opened.defer(() => service.stop());
    await service.ready(() => {});
    while ((await sumOf(service.url, 'ragmill_endpoint_up')) < options.servers) await sleep(POLL_INTERVAL_MS);
    opened.move();
    return new PoolRun(service, models);
  }

  /** Runs a batch with these options to its end; `meanwhile` goes on beside it. Everything before it is forgotten. */
  async run(
    lines: number,
    questionOf: (line: number) => string = (line) => `What is said about number ${line}?`,
    meanwhile: (batch: FollowedBatch) => Promise<void> = async () => {},
    query = '',
  ): Promise<FinishedRun> {
    await this.models.reset();
    const batch = await FollowedBatch.start(this.service.url, lines, questionOf, query);
    await Promise.all([batch.ended, meanwhile(batch)]);
    const counts = await this.models.counts();
    return new FinishedRun(batch, counts);
  }

  /** Second calls of lines that took long; null: this service knows none. */
  async hedges(): Promise<number | null> {
    const sent = await sumOf(this.service.url, 'ragmill_hedges_total', 'outcome="sent"');
    return Number.isNaN(sent) ? null : sent;
  }

  /** How often an endpoint was taken out of the pool, as the log tells. */
  get timesTakenOut(): number {
    return readFileSync(this.service.logPath, 'utf8').split('"msg":"endpoint is down"').length - 1;
  }

  /** What the service says of an endpoint now. */
  async stateOf(name: string): Promise<string> {
    const answer = await fetch(`${this.service.url}/endpoints`);
    if (answer.status === 200) {
      const { data } = (await answer.json()) as { data: Record<string, unknown>[] };
      const { state, breaker, window, reason } = data.find((one) => one.name === name) ?? {};
      return `${state}, breaker ${breaker}, window ${window}, ${reason ?? 'no reason'}`;
    }
    const isUp = (await sumOf(this.service.url, 'ragmill_endpoint_up', `endpoint="${name}"`)) === 1;
    return isUp ? 'up' : 'down';
  }

  /** Of the service, of a core, since the start. */
  get processorShare(): number {
    return this.#shareOf(cpuMs(this.service.pid ?? 0) - this.#startedCpuMs.service);
  }

  /** Of all servers. */
  get modelsProcessorShare(): number {
    return this.#shareOf(cpuMs(this.models.pid) - this.#startedCpuMs.models);
  }

  #shareOf(usedMs: number): number {
    return usedMs / (performance.now() - this.#startedAtMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service.stop();
    await this.models[Symbol.asyncDispose]();
  }
}

export class FinishedRun {
  readonly batch: FollowedBatch;
  readonly counts: readonly ServerCounts[];

  constructor(batch: FollowedBatch, counts: readonly ServerCounts[]) {
    this.batch = batch;
    this.counts = counts;
  }

  /** Unix time at which the first request came to a server. */
  get beganAtMs(): number {
    return Math.min(
      ...this.counts.map(({ firstRequestAtMs }) => firstRequestAtMs ?? Number.POSITIVE_INFINITY),
    );
  }

  /** From the first request at a server to the last result at the client. */
  get makespanMs(): number {
    return (this.batch.results.at(-1)?.atMs ?? Number.NaN) - this.beganAtMs;
  }

  get failed(): number {
    return this.batch.results.filter(({ isSucceeded }) => !isSucceeded).length;
  }

  get triedAgain(): number {
    return this.batch.results.filter(({ attempts }) => attempts > 1).length;
  }

  /** Requests beyond one a line, as a share of the lines. */
  get extraCalls(): number {
    const requests = this.counts.reduce((sum, count) => sum + count.requests, 0);
    return requests / this.batch.results.length - 1;
  }
}

/** Of all series of the metric whose labels hold this; NaN: there is no such metric. */
async function sumOf(serviceUrl: string, name: string, labels = ''): Promise<number> {
  const metrics = await (await fetch(`${serviceUrl}/metrics`)).text();
  const series = metrics.split('\n').filter((line) => line.startsWith(`${name}{`) && line.includes(labels));
  if (series.length === 0) return Number.NaN;
  return series.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}
