// The heart: claims chunks, has their lines run, hands the endings to the store, and steers batches while they run.
//
// (S1) Nothing is claimed to be run before open(): no line meets a collection that is not READY.
// (S2) Every line in hand belongs to a leased chunk; when the lease goes, its lines stop and leave no trace.
// (S3) What is in hand is bounded by the horizons of the stages, plus one chunk for each batch that has none.

import type { Batch } from '../domain/batch.ts';
import { isTerminal } from '../domain/batch-status.ts';
import type { CallStage } from '../domain/call-stage.ts';
import { CHUNK_LINES, type ClaimedChunk, type Lease } from '../domain/chunk.ts';
import type { NewRecord } from '../domain/record.ts';
import type { Metrics } from '../metrics.ts';
import type { ActiveBatch, AppendResult, RetryFilter, Store } from '../store/store.ts';
import type { Clock } from '../time.ts';
import { Claimer } from './claimer.ts';
import type { WaitingLines } from './dispatcher.ts';
import { Hand } from './hand.ts';
import { HORIZON_BYTES, horizonLines, RETRIEVING_MAX } from './horizon.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { LineRunner, type LineRunnerOptions } from './line-runner.ts';
import { PassageKeeper } from './passage-keeper.ts';
import { ProgressMeter } from './progress.ts';
import { countRecords } from './record-metrics.ts';
import { RecordWriter, type SchedulerLog } from './record-writer.ts';
import { RetrievalTurns } from './retrieval-turns.ts';
import { SharedTexts } from './shared-texts.ts';
import { StoreTrouble } from './store-trouble.ts';
import { Upkeep } from './upkeep.ts';
import type { LeasedChunk } from './work.ts';

/** What the scheduler itself gives the runner. */
type Internal =
  | 'keeper'
  | 'sharedTexts'
  | 'turns'
  | 'hand'
  | 'trouble'
  | 'openLines'
  | 'onRecord'
  | 'onParked'
  | 'onDigested'
  | 'onStale';

export interface SchedulerOptions extends Omit<LineRunnerOptions, Internal> {
  readonly store: Store;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: SchedulerLog;
  readonly retentionHours: number;
}

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #claimer: Claimer;
  readonly #runner: LineRunner;
  readonly #writer: RecordWriter;
  readonly #leaseKeeper: LeaseKeeper;
  readonly #upkeep: Upkeep;
  readonly #keeper = new PassageKeeper();
  readonly #hand = new Hand(RETRIEVING_MAX, () => this.nudge('room'));
  readonly #meters = new Map<string, ProgressMeter>();
  readonly #total: ProgressMeter;
  #state: 'new' | 'started' | 'open' | 'stopped' = 'new';

  constructor(options: SchedulerOptions) {
    this.#options = options;
    const { store, clock, log } = options;
    const trouble = new StoreTrouble(log);
    this.#total = new ProgressMeter(clock);
    this.#claimer = new Claimer({
      store,
      horizonLines: (stage) => this.#horizonLines(stage),
      horizonBytes: HORIZON_BYTES,
      retrievingMax: RETRIEVING_MAX,
      hand: this.#hand,
      isOpen: () => this.#state === 'open',
      onClaimed: (claimed, batch) => this.#begin(claimed, batch),
      onError: (error) => log.error({ err: error }, 'chunks could not be claimed'),
    });
    this.#runner = new LineRunner({
      ...options,
      keeper: this.#keeper,
      sharedTexts: new SharedTexts(),
      turns: new RetrievalTurns(),
      hand: this.#hand,
      trouble,
      openLines: () => this.#hand.lines,
      onRecord: (chunk, record, passages) => this.#writer.add(chunk, record, passages),
      onParked: (chunk, lines) => this.#finish(chunk, lines),
      onDigested: () => {
        if (this.#hand.digestLines <= this.#horizonLines('rag') - CHUNK_LINES) this.nudge('room');
      },
      onStale: (chunk) => this.#drop(chunk),
    });
    this.#writer = new RecordWriter({
      ...options,
      trouble,
      onStored: (chunk, records, status) => this.#stored(chunk, records, status),
      onPassagesStored: (batchId, hashes) => this.#keeper.markStored(batchId, hashes),
      onStale: (chunk) => this.#drop(chunk),
    });
    this.#leaseKeeper = new LeaseKeeper({
      ...options,
      trouble,
      leases: () => this.#hand.chunks.map((chunk) => chunk.lease),
      onLost: (lease) => this.#lost(lease),
      onRenewed: () => this.nudge(),
    });
    this.#upkeep = new Upkeep({ ...options, expire: (batchId) => this.#expire(batchId) });
  }

  /** Starts what does not need the collection: deadlines, and batches whose lines end without running. */
  start(): void {
    if (this.#state !== 'new') return;
    this.#state = 'started';
    this.#leaseKeeper.start();
    this.#upkeep.start();
  }

  /** Starts claiming: the collection is READY. */
  open(): void {
    this.start();
    if (this.#state !== 'started') return;
    this.#state = 'open';
    this.nudge();
  }

  /** There may be new work, or room for what there was. */
  nudge(reason: 'work' | 'room' = 'work'): void {
    if (this.#leaseKeeper.isHolding) this.#claimer.nudge(reason);
  }

  /** Started lines finish, the rest is given back. null: no such batch. */
  async pause(batchId: string): Promise<Batch | null> {
    const batch = await this.#options.store.pauseBatch(batchId);
    if (batch?.status === 'paused') this.#pauseInHand(batchId);
    return batch;
  }

  async resume(batchId: string): Promise<Batch | null> {
    const batch = await this.#options.store.resumeBatch(batchId);
    if (batch?.status === 'in_progress') this.#resumeInHand(batchId);
    this.nudge();
    return batch;
  }

  /** Ends a batch early: finished lines stay, running ones are aborted. */
  async cancel(batchId: string): Promise<Batch | null> {
    const batch = await this.#options.store.requestCancel(batchId);
    if (batch?.status === 'cancelling') this.#dropBatch(batchId);
    return batch;
  }

  /** Runs lines of a finished batch again. */
  async retry(batchId: string, filter: RetryFilter): Promise<Batch | null> {
    const batch = await this.#options.store.retryBatch(batchId, filter);
    this.nudge();
    return batch;
  }

  /** Another build of the collection is READY. */
  collectionChanged(): void {
    this.#runner.retrieveAgain();
  }

  linesPerSecond(batchId: string): number {
    return this.#meters.get(batchId)?.linesPerSecond() ?? 0;
  }

  /** Of all batches together. */
  get totalLinesPerSecond(): number {
    return this.#total.linesPerSecond();
  }

  /** How many lines wait for a model server, by what for. */
  get waiting(): WaitingLines {
    return this.#runner.waiting;
  }

  /** Stops claiming, gives running generations `graceMs` to end, gives the rest back. */
  async stop(graceMs: number): Promise<void> {
    this.#state = 'stopped';
    await this.#upkeep.stop();
    await this.#claimer.stop();
    await this.#runner.stop(graceMs);
    // Leases are renewed to the last: a drain may outlast them.
    await this.#leaseKeeper.stop();
    for (const chunk of this.#hand.chunks) {
      chunk.controller.abort();
      chunk.retrieving.abort();
    }
    await this.#writer.stop();
    // What cannot be given back now is free at the next start all the same.
    await Promise.allSettled(this.#hand.chunks.map((chunk) => this.#options.store.releaseChunk(chunk.lease)));
  }

  /** true: it took lines in hand. */
  #begin(claimed: ClaimedChunk, batch: ActiveBatch): boolean {
    const alreadyInHand = this.#hand.linesOf(batch.id);
    const limit = claimed.runnableLines === null ? null : claimed.runnableLines - alreadyInHand;
    const { chunk, begin } = this.#runner.take(claimed, batch.options, limit);
    if (chunk.openLines === 0) {
      this.#release(chunk);
      return false;
    }
    this.#hand.add(chunk);
    if (!this.#meters.has(batch.id)) this.#meters.set(batch.id, new ProgressMeter(this.#options.clock));
    begin();
    this.#updateQueueLines();
    return true;
  }

  #stored(chunk: LeasedChunk, records: readonly NewRecord[], status: Exclude<AppendResult, 'stale'>): void {
    const { batchId } = chunk.lease;
    countRecords(this.#options.metrics, records);
    this.#meters.get(batchId)?.add(records.length);
    this.#total.add(records.length);
    this.#finish(chunk, records.length);
    if (isTerminal(status)) this.#ended(batchId, status);
    else if (status === 'paused') this.#pauseInHand(batchId);
    // Stragglers hold their chunks open for long: room counts by lines, not by chunks.
    const ahead = this.#hand.lines - this.#hand.digestLines;
    if (chunk.openLines <= 0 || ahead <= this.#horizonLines('generation') - CHUNK_LINES) this.nudge('room');
  }

  #ended(batchId: string, status: string): void {
    this.#meters.delete(batchId);
    this.#keeper.forget(batchId);
    this.#runner.forget(batchId);
    this.#options.metrics.batches.inc({ status });
    this.#options.log.info({ batch: batchId, status }, 'batch has ended');
  }

  /** So many lines of the chunk are no longer in hand: they have their record, or go back to the store. */
  #finish(chunk: LeasedChunk, lines: number): void {
    const wasHeld = this.#hand.get(chunk.lease.token) !== undefined;
    this.#hand.finish(chunk, lines);
    const hasMore = chunk.isPartial || chunk.parked.length > 0;
    if (wasHeld && chunk.openLines <= 0 && hasMore) this.#release(chunk);
    this.#updateQueueLines();
  }

  #pauseInHand(batchId: string): void {
    this.#runner.pause(this.#hand.chunksOf(batchId));
  }

  /** What a pause has parked goes on at once: the chunk is ours until its slowest started line ends. */
  #resumeInHand(batchId: string): void {
    for (const chunk of this.#hand.chunksOf(batchId)) {
      this.#runner.resume(chunk, (lines) => this.#hand.goOn(chunk, lines));
    }
    this.#updateQueueLines();
  }

  async #expire(batchId: string): Promise<void> {
    const batch = await this.#options.store.requestExpiry(batchId);
    if (batch?.status === 'finalizing') this.#dropBatch(batchId);
  }

  /** Its leases are void: its open lines are claimed again, to get the records they end with. */
  #dropBatch(batchId: string): void {
    for (const chunk of this.#hand.chunksOf(batchId)) this.#drop(chunk);
    this.nudge();
  }

  /** The lease is gone: its lines stop here, whoever has it now goes on with them. */
  #drop(chunk: LeasedChunk): void {
    chunk.controller.abort();
    chunk.retrieving.abort();
    this.#hand.remove(chunk);
    this.#runner.dropAborted();
    this.#updateQueueLines();
    this.nudge();
  }

  #release(chunk: LeasedChunk): void {
    // What cannot be given back now is not renewed any more, and runs out.
    this.#options.store.releaseChunk(chunk.lease).then(
      () => chunk.isLimited || this.nudge(),
      (error) => this.#options.log.error({ err: error }, 'a chunk could not be given back'),
    );
  }

  #lost(lease: Lease): void {
    const chunk = this.#hand.get(lease.token);
    if (!chunk) return;
    this.#options.metrics.leaseLost.inc();
    this.#options.log.warn({ batch: lease.batchId, chunk: lease.chunk }, 'lease lost');
    this.#drop(chunk);
  }

  #horizonLines(stage: CallStage): number {
    return horizonLines(this.#options.pool.slots(stage), this.#total.linesPerSecond());
  }

  #updateQueueLines(): void {
    this.#options.metrics.queueLines.set(this.#hand.lines);
  }
}
