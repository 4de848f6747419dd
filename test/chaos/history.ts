// F3: one history against the real service. Steps run one after another, readers stay open beside them, kills cut some
// steps short; the oracle is asked after every step and over the dead file after every kill. At the end all faults are
// off, and everything has to finish.

import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../fakes/until.ts';
import { BackgroundRead, type ReadQuery } from './background-read.ts';
import type { ChaosService } from './chaos-service.ts';
import { checkDeadDatabase, checkLeftovers } from './check-database.ts';
import type { Figures } from './figures.ts';
import type { Killable, Step } from './history-steps.ts';
import { HistoryUploads } from './history-uploads.ts';
import type { KnownBatch } from './known-batch.ts';
import { isRefused } from './marked-lines.ts';
import { checkMetrics } from './metrics-check.ts';
import { Oracle } from './oracle.ts';
import { PauseWatch } from './pause-watch.ts';
import { request } from './requests.ts';
import type { Surroundings } from './surroundings.ts';

export async function runHistory(
  { server, open }: Surroundings,
  steps: readonly Step[],
  figures: Figures,
): Promise<void> {
  server.delayMs = 4;
  server.statusOf = () => null;
  await using service = open({ GPU_CONCURRENCY: '8' });
  const history = new History(service, new Oracle(server), figures);
  await service.start();
  for (const step of steps) {
    await history.run(step);
    figures.commands += 1;
  }
  await history.finish();
  figures.histories += 1;
}

class History {
  readonly #service: ChaosService;
  readonly #oracle: Oracle;
  readonly #figures: Figures;
  readonly #uploads: HistoryUploads;
  readonly #pauses: PauseWatch;
  #readers: BackgroundRead[] = [];
  /** Records of all batches when this life began. */
  #recordsBefore = 0;

  constructor(service: ChaosService, oracle: Oracle, figures: Figures) {
    this.#service = service;
    this.#oracle = oracle;
    this.#figures = figures;
    this.#uploads = new HistoryUploads(service, oracle);
    this.#pauses = new PauseWatch(service, oracle);
  }

  async run(step: Step): Promise<void> {
    switch (step.do) {
      case 'upload':
      case 'change':
      case 'again':
        return this.#killable(step, step.killAfterMs);
      case 'cut':
        return this.#uploads.cut(step.lines, step.share);
      case 'poll':
        return this.#with(step.batch, (known) => this.#check(known));
      case 'list':
        return this.#oracle.checkNoStrangers(this.#service);
      case 'read':
        return this.#with(step.batch, (known) => this.#read(known, step.share, step.query));
      case 'refuse':
        this.#oracle.server.statusOf = (mark) => (step.isRefusing && isRefused(mark) ? 400 : null);
        return;
      case 'work':
        return void (await sleep(step.forMs));
      case 'settle':
        return this.#with(step.batch, (known) => this.#settle(known));
      case 'expire':
        return this.#expire();
      case 'kill':
        return this.#kill();
      case 'terminate':
        return this.#terminate();
    }
  }

  /** All faults are off: everything finishes, and the metrics say what the file says. */
  async finish(): Promise<void> {
    const { server } = this.#oracle;
    server.delayMs = 0;
    await until('every batch to finish', async () => (await this.#resumeAll()) === 0);
    await this.#oracle.checkApi(this.#service);
    await this.#oracle.checkNoStrangers(this.#service);
    await this.#endReaders(false);
    await checkMetrics(this.#service, this.#records - this.#recordsBefore, this.#unread);
    await this.#stop();
    this.#figures.batchesAcknowledged += this.#uploads.acknowledgedBatches;
    this.#figures.linesAcknowledged += this.#uploads.acknowledgedLines;
  }

  /** Resumes what is paused; answers how many batches are not finished. */
  async #resumeAll(): Promise<number> {
    let open = 0;
    for (const known of this.#oracle.batches.values()) {
      if (known.status === 'gone' || known.isFinished) continue;
      await this.#check(known);
      if (known.status === 'paused') {
        this.#pauses.forget(known);
        await request(this.#service, this.#oracle, known, { request: 'resume' });
      }
      if (!known.isFinished) open += 1;
    }
    return open;
  }

  async #killable(step: Killable, killAfterMs: number | null): Promise<void> {
    const known = step.do === 'change' ? this.#batch(step.batch) : undefined;
    if (known) this.#pauses.forget(known);
    // The log of a batch that is about to go, or to begin another run, is read once more before it does.
    if (known && step.do === 'change' && (step.request === 'delete' || step.request === 'retry'))
      await this.#check(known);
    const asked = this.#start(step);
    if (killAfterMs !== null) {
      await sleep(killAfterMs);
      await this.#service.end('SIGKILL');
      await asked;
      return this.#nextLife();
    }
    await asked;
    const isPause = step.do === 'change' && step.request === 'pause';
    if (isPause && known?.status === 'paused') await this.#pauses.began(known);
  }

  async #start(step: Killable): Promise<void> {
    if (step.do === 'upload') return this.#uploads.upload(step);
    if (step.do === 'again') return this.#uploads.again(step.upload, step.isSame);
    const known = this.#batch(step.batch);
    if (known) await request(this.#service, this.#oracle, known, step);
  }

  async #check(known: KnownBatch): Promise<void> {
    await this.#oracle.checkBatch(this.#service, known);
    this.#pauses.check(known);
  }

  #read(known: KnownBatch, share: number, query: ReadQuery): void {
    const length = query.order === 'input' ? known.lines.length : known.published.length;
    const after = query.status !== undefined || query.latest !== undefined ? 0 : Math.floor(share * length);
    this.#readers.push(new BackgroundRead(this.#service, known, after, query));
  }

  async #settle(known: KnownBatch): Promise<void> {
    await until(`${known.id} to settle`, async () => {
      await this.#check(known);
      return known.isFinished || known.status === 'paused' || known.status === 'gone';
    });
  }

  /** Batches with a window come to their end within it, paused or not. */
  async #expire(): Promise<void> {
    const expiring = () =>
      [...this.#oracle.batches.values()].filter(
        (known) => known.behaviour.expires && !known.isFinished && known.status !== 'gone',
      );
    await until('the windows to close', async () => {
      for (const known of expiring()) await this.#check(known);
      return expiring().length === 0;
    });
  }

  async #kill(): Promise<void> {
    await this.#service.end('SIGKILL');
    await this.#nextLife();
  }

  async #nextLife(): Promise<void> {
    this.#figures.kills += 1;
    this.#afterLife(false);
    await this.#endReaders(true);
    this.#figures.readyMs.push(await this.#service.start());
    await this.#oracle.restarted(this.#service);
    this.#afterStart();
  }

  async #terminate(): Promise<void> {
    await this.#stop();
    await this.#service.start();
    await this.#oracle.restarted(this.#service);
    this.#afterStart();
  }

  /** A stop that was asked for leaves no lease behind. */
  async #stop(): Promise<void> {
    assert.equal(await this.#service.end('SIGTERM'), 0);
    this.#afterLife(true);
    await this.#endReaders(true);
  }

  #afterLife(isStopped: boolean): void {
    checkDeadDatabase(this.#service, this.#oracle, isStopped);
    this.#recordsBefore = this.#records;
  }

  #afterStart(): void {
    checkLeftovers(this.#service);
    for (const known of this.#oracle.batches.values()) {
      this.#pauses.check(known);
      if (known.status === 'paused') this.#pauses.rests(known);
    }
  }

  get #records(): number {
    return [...this.#oracle.batches.values()].reduce((sum, { published }) => sum + published.length, 0);
  }

  /** Records that batches may have got between the last look at them and their deletion. */
  get #unread(): number {
    const gone = [...this.#oracle.batches.values()].filter(({ status }) => status === 'gone');
    const unread = gone.filter(({ runEnds, published }) => !runEnds.has(published.length));
    return unread.reduce((sum, { lines }) => sum + lines.length, 0);
  }

  async #endReaders(isServiceDead: boolean): Promise<void> {
    for (const reader of this.#readers) {
      await reader.ended();
      reader.check({ isServiceDead });
    }
    this.#readers = [];
  }

  async #with(number: number, act: (known: KnownBatch) => Promise<void> | void): Promise<void> {
    const known = this.#batch(number);
    if (known) await act(known);
  }

  #batch(number: number): KnownBatch | undefined {
    const batches = [...this.#oracle.batches.values()];
    return batches[number % batches.length];
  }
}
