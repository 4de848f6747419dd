// The heart: claims chunks, runs their lines through retrieval and generation, hands the endings to the store.
//
// (S1) Nothing is claimed before open(): no line runs against a collection that is not READY.
// (S2) Every line in hand belongs to a leased chunk; when the lease goes, its lines stop and leave no trace.
// (S3) What is in hand is bounded by the horizon, plus one chunk for each batch that has none.

import { setMaxListeners } from 'node:events';
import type { Batch } from '../domain/batch.ts';
import { CHUNK_LINES, type ClaimedChunk, type Lease } from '../domain/chunk.ts';
import type { GenerationOutcome, GenerationTask } from '../domain/generation.ts';
import type { RetrievalOutcome } from '../domain/passage.ts';
import type { NewRecord } from '../domain/record.ts';
import type { GpuPool } from '../gpu-pool/gpu-pool.ts';
import type { Metrics } from '../metrics.ts';
import type { ActiveBatch, Store } from '../store/store.ts';
import type { Clock } from '../time.ts';
import { type OpenLine, openLinesOf } from './claimed-lines.ts';
import { Claimer } from './claimer.ts';
import { Dispatcher, type GenerationSettings } from './dispatcher.ts';
import { Hand } from './hand.ts';
import { ProgressMeter } from './progress.ts';
import { RecordWriter, type SchedulerLog } from './record-writer.ts';
import { failedRecord, unrunRecord } from './result-record.ts';
import { beginWork, type LeasedChunk, type Work } from './work.ts';

interface RetrievalQuery {
  readonly query: string;
  readonly topK: number;
  readonly maxDistance: number | null;
}

export interface SchedulerOptions {
  readonly store: Store;
  readonly pool: GpuPool;
  readonly retrieve: (query: RetrievalQuery, signal: AbortSignal) => Promise<RetrievalOutcome>;
  readonly generate: (task: GenerationTask, signal: AbortSignal) => Promise<GenerationOutcome>;
  readonly generation: GenerationSettings;
  readonly defaultSystemPrompt: string;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: SchedulerLog;
}

/** Lines retrieved ahead of generation; bytes of raw text in hand. */
const HORIZON_LINES = 1024;
const HORIZON_BYTES = 64 * 1024 * 1024;
/** A third of what a lease lasts leaves two tries before it runs out. */
const RENEW_INTERVAL_MS = 5_000;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #claimer: Claimer;
  readonly #dispatcher: Dispatcher;
  readonly #writer: RecordWriter;
  readonly #hand = new Hand();
  readonly #meters = new Map<string, ProgressMeter>();
  readonly #stopped = new AbortController();
  #renewing: Promise<void> = Promise.resolve();
  #isOpen = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    const { store, metrics, clock, log } = options;
    this.#claimer = new Claimer({
      store,
      horizonLines: HORIZON_LINES,
      horizonBytes: HORIZON_BYTES,
      hand: this.#hand,
      isOpen: () => this.#isOpen,
      onClaimed: (claimed, batch) => this.#begin(claimed, batch),
      onError: (error) => log.error({ err: error }, 'chunks could not be claimed'),
    });
    this.#dispatcher = new Dispatcher({
      ...options,
      settings: options.generation,
      onRecord: (work, record) => this.#end(work, record),
      onSurprise: (work, error) => this.#surprise(work, error),
    });
    this.#writer = new RecordWriter({
      store,
      metrics,
      clock,
      log,
      onStored: (chunk, records, isBatchEnd) => this.#stored(chunk, records, isBatchEnd),
      onStale: (chunk) => this.#drop(chunk),
    });
  }

  /** Starts claiming: the collection is READY. */
  open(): void {
    if (this.#isOpen || this.#stopped.signal.aborted) return;
    this.#isOpen = true;
    this.#renewing = this.#keepRenewing();
    this.#claimer.nudge();
  }

  /** There is a new batch. */
  nudge(): void {
    this.#claimer.nudge();
  }

  /** Ends a batch early: finished lines stay, running ones are aborted. null: no such batch. */
  async cancel(batchId: string): Promise<Batch | null> {
    const batch = await this.#options.store.requestCancel(batchId);
    if (batch?.status !== 'cancelling') return batch;
    for (const chunk of this.#hand.chunks) if (chunk.lease.batchId === batchId) this.#drop(chunk);
    this.nudge();
    return batch;
  }

  linesPerSecond(batchId: string): number {
    return this.#meters.get(batchId)?.linesPerSecond() ?? 0;
  }

  /** Stops claiming, gives running generations `graceMs` to end, gives the rest back. */
  async stop(graceMs: number): Promise<void> {
    await this.#claimer.stop();
    await this.#dispatcher.stop(graceMs);
    // Leases are renewed to the last: a drain may outlast them.
    this.#stopped.abort();
    await this.#renewing;
    for (const chunk of this.#hand.chunks) chunk.controller.abort();
    await this.#writer.stop();
    // What cannot be given back now is free at the next start all the same.
    await Promise.allSettled(this.#hand.chunks.map((chunk) => this.#options.store.releaseChunk(chunk.lease)));
  }

  #begin(claimed: ClaimedChunk, batch: ActiveBatch): void {
    const lines = openLinesOf(claimed, batch.options);
    const chunk: LeasedChunk = {
      lease: claimed.lease,
      controller: new AbortController(),
      bytes: claimed.text.length,
      openLines: lines.length,
    };
    // Every line of the chunk listens to its signal.
    setMaxListeners(0, chunk.controller.signal);
    this.#hand.add(chunk);
    if (!this.#meters.has(batch.id)) this.#meters.set(batch.id, new ProgressMeter(this.#options.clock));
    for (const line of lines) this.#beginLine(chunk, line, claimed.cancelling);
    this.#updateQueueLines();
  }

  #beginLine(chunk: LeasedChunk, line: OpenLine, isCancelling: boolean): void {
    const { customId, metadata } =
      line.kind === 'good' ? line.parsed : { customId: line.bad.customId, metadata: null };
    const head = { line: line.line, customId, metadata };
    if (isCancelling) {
      const error = {
        code: 'cancelled',
        message: 'The batch was cancelled before this line was answered.',
        stage: 'generation',
      } as const;
      this.#writer.add(chunk, unrunRecord(head, { status: 'cancelled', error }));
    } else if (line.kind === 'bad') {
      const error = { code: line.bad.code, message: line.bad.message, stage: 'input' } as const;
      this.#writer.add(chunk, unrunRecord(head, { status: 'failed', error }));
    } else {
      const work = beginWork(chunk, line.line, line.parsed);
      this.#run(work).catch((error) => this.#surprise(work, error));
    }
  }

  async #run(work: Work): Promise<void> {
    const { options } = work.parsed;
    if (options.ragMode === 'retrieve') {
      const outcome = await this.#retrieve(work);
      if (work.chunk.controller.signal.aborted) return;
      if (outcome.kind === 'hard_failure') {
        return this.#end(
          work,
          failedRecord(work, { code: outcome.code, message: outcome.message, stage: 'rag' }, null),
        );
      }
      if (outcome.kind === 'soft_failure' && options.onNoContext === 'fail') {
        const message = `${outcome.message} The batch asks for context (on_no_context=fail).`;
        return this.#end(work, failedRecord(work, { code: 'no_context', message, stage: 'rag' }, null));
      }
    }
    this.#dispatcher.add(work);
  }

  async #retrieve(work: Work): Promise<RetrievalOutcome> {
    const { clock, metrics, retrieve } = this.#options;
    const { topK, maxDistance } = work.parsed.options;
    const startedAtMs = clock.monotonicMs();
    const query = { query: work.parsed.request.query, topK, maxDistance };
    const outcome = await retrieve(query, work.chunk.controller.signal);
    work.retrieval = outcome;
    work.retrievalMs = clock.monotonicMs() - startedAtMs;
    metrics.stageDuration.observe({ stage: 'retrieval' }, work.retrievalMs / 1000);
    return outcome;
  }

  /** What nobody expected ends the line, not the service. An abort is expected: the lease is gone. */
  #surprise(work: Work, cause: unknown): void {
    if (work.chunk.controller.signal.aborted) return;
    this.#options.log.error(
      { err: cause, batch: work.chunk.lease.batchId, line: work.line },
      'line failed unexpectedly',
    );
    const message = 'Something unexpected happened; the log has it under the batch and the line.';
    const stage = work.readyAtMs === 0 ? 'rag' : 'generation';
    this.#end(work, failedRecord(work, { code: 'internal_error', message, stage }, null));
  }

  #end(work: Work, record: NewRecord): void {
    if (!work.chunk.controller.signal.aborted) this.#writer.add(work.chunk, record);
  }

  #stored(chunk: LeasedChunk, records: readonly NewRecord[], isBatchEnd: boolean): void {
    const { metrics, log } = this.#options;
    for (const record of records) countRecord(metrics, record);
    this.#meters.get(chunk.lease.batchId)?.add(records.length);
    this.#hand.finish(chunk, records.length);
    this.#updateQueueLines();
    if (isBatchEnd) {
      this.#meters.delete(chunk.lease.batchId);
      const status = records.some((record) => record.status === 'cancelled') ? 'cancelled' : 'completed';
      metrics.batches.inc({ status });
      log.info({ batch: chunk.lease.batchId, status }, 'batch has ended');
    }
    // Stragglers hold their chunks open for long: room counts by lines, not by chunks.
    if (chunk.openLines <= 0 || this.#hand.lines <= HORIZON_LINES - CHUNK_LINES) this.#claimer.nudge();
  }

  /** The lease is gone: its lines stop here, whoever has it now goes on with them. */
  #drop(chunk: LeasedChunk): void {
    chunk.controller.abort();
    this.#hand.remove(chunk);
    this.#dispatcher.dropAborted();
    this.#updateQueueLines();
    this.#claimer.nudge();
  }

  async #keepRenewing(): Promise<void> {
    const { clock, log, metrics, store } = this.#options;
    for (;;) {
      try {
        await clock.sleep(RENEW_INTERVAL_MS, this.#stopped.signal);
      } catch {
        return;
      }
      try {
        const lost = await store.renewLeases(this.#hand.chunks.map((chunk) => chunk.lease));
        for (const lease of lost) this.#lost(lease, metrics);
      } catch (error) {
        log.error({ err: error }, 'leases could not be renewed');
      }
      // A lease that ran out elsewhere makes its chunk claimable without any other sign.
      this.#claimer.nudge();
    }
  }

  #lost(lease: Lease, metrics: Metrics): void {
    const chunk = this.#hand.get(lease.token);
    if (!chunk) return;
    metrics.leaseLost.inc();
    this.#options.log.warn({ batch: lease.batchId, chunk: lease.chunk }, 'lease lost');
    this.#drop(chunk);
  }

  #updateQueueLines(): void {
    this.#options.metrics.queueLines.set(this.#hand.lines);
  }
}

function countRecord(metrics: Metrics, record: NewRecord): void {
  metrics.lines.inc({ outcome: record.status, code: record.code ?? 'none' });
  if (record.rag !== null) metrics.ragOutcomes.inc({ outcome: record.rag });
  metrics.tokens.inc({ direction: 'prompt' }, record.promptTokens);
  metrics.tokens.inc({ direction: 'completion' }, record.completionTokens);
  metrics.cachedTokens.inc(record.cachedTokens);
}
