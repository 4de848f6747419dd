// The check of files that batches were made of: one at a time, oldest first, all or nothing. A batch whose lines are all in
// order runs; any other has failed, and says why.
//
// A check that is cut off, by a stop or a crash, begins anew at the next start. Trouble of the store, or a full disk, fails
// no batch: the check waits, and tries again.

import type { Batch, ValidationError } from '../domain/batch.ts';
import { RagmillError } from '../errors.ts';
import type { Metrics } from '../metrics.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../time.ts';
import { ChunkWriter } from './chunk-writer.ts';
import { LISTED_PROBLEMS, LineIntake, type UploadLimits } from './line-intake.ts';
import { OpenaiLineCheck } from './openai-line-check.ts';
import type { SchedulerLog } from './record-writer.ts';
import { StoreTrouble } from './store-trouble.ts';

export interface FileCheckOptions {
  readonly store: Store;
  readonly limits: UploadLimits;
  /** Throws when there is no room for more. */
  readonly checkRoom: () => Promise<void>;
  /** Whether waiting for this model would be in vain. */
  readonly isUnknownModel: (model: string) => boolean;
  /** A batch has passed: there is work. */
  readonly onPassed: () => void;
  readonly metrics: Pick<Metrics, 'batches'>;
  readonly clock: Clock;
  readonly log: SchedulerLog;
}

/** Wait before what failed is tried again, in milliseconds: twice as long each time, because a try writes the lines anew. */
const RETRY_INTERVAL_MS = 1_000;
const RETRY_INTERVAL_MAX_MS = 30_000;

/** What nobody expected is the file's own trouble when it comes again. */
const UNEXPECTED_TRIES = 3;

export class FileCheck {
  readonly #options: FileCheckOptions;
  readonly #stopped = new AbortController();
  readonly #trouble: StoreTrouble;
  /** By batch: how often its check has ended in a way that nobody expected. */
  readonly #surprises = new Map<string, number>();
  #retryIntervalMs = RETRY_INTERVAL_MS;
  #running: Promise<void> | null = null;
  /** There may be a batch that was not there at the last look. */
  #isNudged = false;
  #wake: () => void = () => {};

  constructor(options: FileCheckOptions) {
    this.#options = options;
    this.#trouble = new StoreTrouble(options.log);
  }

  start(): void {
    if (this.#running === null && !this.#stopped.signal.aborted) this.#running = this.#run();
  }

  /** There may be a batch to check. */
  nudge(): void {
    this.#isNudged = true;
    this.#wake();
  }

  /** Ends the check under way at once; the next start goes on. */
  async stop(): Promise<void> {
    this.#stopped.abort(new RagmillError('shutting_down', 'The service is stopping.'));
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      this.#isNudged = false;
      let id: string | undefined;
      try {
        [id] = await this.#options.store.validatingBatches();
        if (id !== undefined) await this.#check(id);
        this.#trouble.worked();
        this.#retryIntervalMs = RETRY_INTERVAL_MS;
        if (id === undefined) await this.#nudged();
      } catch (error) {
        if (signal.aborted) return;
        this.#trouble.failed(error);
        if (id !== undefined && isUnexpected(error)) await this.#surprised(id);
        await this.#options.clock.sleep(this.#retryIntervalMs, signal).catch(() => {});
        this.#retryIntervalMs = Math.min(this.#retryIntervalMs * 2, RETRY_INTERVAL_MAX_MS);
      }
    }
  }

  async #nudged(): Promise<void> {
    if (this.#isNudged || this.#stopped.signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  /** One file that cannot be checked must not stand in the way of all others. */
  async #surprised(batchId: string): Promise<void> {
    const tries = (this.#surprises.get(batchId) ?? 0) + 1;
    this.#surprises.set(batchId, tries);
    if (tries < UNEXPECTED_TRIES) return;
    this.#surprises.delete(batchId);
    await this.#fail(batchId, [UNCHECKED]).catch((error) => this.#trouble.failed(error));
  }

  async #check(batchId: string): Promise<void> {
    try {
      await this.#checkFile(batchId);
    } catch (error) {
      // It was cancelled or deleted meanwhile.
      if (!(error instanceof RagmillError && error.code === 'upload_incomplete')) throw error;
    }
  }

  async #checkFile(batchId: string): Promise<void> {
    const { store, log, onPassed } = this.#options;
    await store.restartValidation(batchId);
    const batch = await store.getBatch(batchId);
    if (batch === null || batch.inputFileId === null) throw gone();
    const { errors, bytes } = await this.#read(batch, batch.inputFileId);
    if (errors.length > 0) return this.#fail(batchId, errors);
    const passed = await store.passValidation(batchId, bytes);
    if (passed?.status !== 'in_progress') return;
    log.info({ batch: batchId, lines: passed.total }, 'file checked: its batch runs');
    onPassed();
  }

  async #fail(batchId: string, errors: readonly ValidationError[]): Promise<void> {
    const failed = await this.#options.store.failValidation(batchId, errors);
    if (failed?.status !== 'failed') return;
    const [first] = errors;
    this.#options.metrics.batches.inc({ status: 'failed' });
    this.#options.log.warn(
      { batch: batchId, errors: errors.length, code: first?.code, line: first?.line },
      'file checked: its batch has failed',
    );
  }

  /** The size of the file, and what is wrong with its lines, the first hundred. Without any, all of them are stored. */
  async #read(batch: Batch, fileId: string): Promise<{ errors: ValidationError[]; bytes: number }> {
    const { limits, isUnknownModel } = this.#options;
    const { model } = batch.options;
    const lineCheck = new OpenaiLineCheck({ endpoint: batch.endpoint, model, isUnknownModel });
    const intake = new LineIntake({
      // Its bytes were counted when it was uploaded.
      limits: { ...limits, maxBatchBytes: Number.POSITIVE_INFINITY },
      check: (bytes) => lineCheck.check(bytes),
      isHashed: false,
    });
    const chunks = new ChunkWriter({ ...this.#options, batchId: batch.id });
    const errors: ValidationError[] = [];
    try {
      await intake.read(this.#pieces(batch.id, fileId, intake), (number, bytes) =>
        // Of a batch that is going to fail nothing is kept.
        intake.badLines > 0 ? undefined : chunks.add(number, bytes, null),
      );
      if (intake.lines === 0) errors.push(EMPTY_FILE);
      else if (intake.badLines === 0) await chunks.end();
    } catch (error) {
      if (!(error instanceof RagmillError && error.code === 'too_large')) throw error;
      errors.push(tooMany(limits));
    }
    return { errors: [...listed(intake), ...errors].slice(0, LISTED_PROBLEMS), bytes: intake.meter.bytes };
  }

  /** To the end of the file, or until enough is wrong with it. */
  async *#pieces(batchId: string, fileId: string, intake: LineIntake): AsyncGenerator<Buffer> {
    const { store } = this.#options;
    for (let number = 0; intake.problems.length < LISTED_PROBLEMS; number += 1) {
      this.#stopped.signal.throwIfAborted();
      if ((await store.getBatch(batchId))?.status !== 'validating') throw gone();
      const piece = await store.readFilePiece(fileId, number);
      if (piece === null) return;
      yield piece;
    }
  }
}

/** As the store has it of a batch that does not wait for its check any more. */
function gone(): RagmillError {
  return new RagmillError('upload_incomplete', 'The batch is not being checked any more.');
}

function isUnexpected(error: unknown): boolean {
  return !(error instanceof RagmillError) || error.code === 'internal_error';
}

const UNCHECKED: ValidationError = {
  code: 'internal_error',
  message: 'The file could not be checked; the log of the service says why.',
  param: null,
  line: null,
};

const EMPTY_FILE: ValidationError = {
  code: 'empty_file',
  message: 'The file has no lines.',
  param: null,
  line: null,
};

function tooMany({ maxBatchLines }: UploadLimits): ValidationError {
  const message = `The file has more than ${maxBatchLines} lines (MAX_BATCH_LINES). Split it.`;
  return { code: 'too_many_tasks', message, param: null, line: null };
}

function listed(intake: LineIntake): ValidationError[] {
  return intake.problems.map(({ line, code, message, param }) => ({
    code,
    message,
    param: param ?? (code === 'duplicate_custom_id' ? 'custom_id' : null),
    line,
  }));
}
