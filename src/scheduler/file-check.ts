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
import { ChunkBuilder } from './chunk-builder.ts';
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

/** Wait before what failed is tried again, in milliseconds. */
const RETRY_INTERVAL_MS = 1_000;

/** Chunks of at most 1 MiB between two looks at the room that is left. */
const CHUNKS_PER_ROOM_CHECK = 8;

export class FileCheck {
  readonly #options: FileCheckOptions;
  readonly #stopped = new AbortController();
  readonly #trouble: StoreTrouble;
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
      try {
        const [id] = await this.#options.store.validatingBatches();
        if (id !== undefined) await this.#check(id);
        this.#trouble.worked();
        if (id === undefined) await this.#nudged();
      } catch (error) {
        if (signal.aborted) return;
        this.#trouble.failed(error);
        await this.#options.clock.sleep(RETRY_INTERVAL_MS, signal).catch(() => {});
      }
    }
  }

  async #nudged(): Promise<void> {
    if (this.#isNudged || this.#stopped.signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  async #check(batchId: string): Promise<void> {
    const { store } = this.#options;
    await store.restartValidation(batchId);
    const batch = await store.getBatch(batchId);
    if (batch?.status !== 'validating') return;
    const file = batch.inputFileId === null ? null : await store.getFile(batch.inputFileId);
    if (file === null) return this.#fail(batchId, [NO_FILE]);
    const errors = await this.#findErrors(batch, file.id);
    // It was cancelled or deleted meanwhile.
    if (errors === null) return;
    if (errors.length > 0) return this.#fail(batchId, errors);
    const passed = await store.passValidation(batchId, file.bytes);
    if (passed?.status !== 'in_progress') return;
    this.#options.log.info({ batch: batchId, lines: passed.total }, 'file checked: its batch runs');
    this.#options.onPassed();
  }

  async #fail(batchId: string, errors: readonly ValidationError[]): Promise<void> {
    const failed = await this.#options.store.failValidation(batchId, errors);
    if (failed?.status !== 'failed') return;
    const [first] = errors;
    this.#options.metrics.batches.inc({ status: 'failed' });
    this.#options.log.warn(
      { batch: batchId, errors: errors.length, first },
      'file checked: its batch has failed',
    );
  }

  /** What is wrong with the lines, the first hundred; they are stored as far as they are in order. null: no matter. */
  async #findErrors(batch: Batch, fileId: string): Promise<ValidationError[] | null> {
    const { limits, isUnknownModel } = this.#options;
    const lineCheck = new OpenaiLineCheck({ endpoint: batch.endpoint, isUnknownModel });
    const intake = new LineIntake({
      // Its bytes were counted when it was uploaded.
      limits: { ...limits, maxBatchBytes: Number.POSITIVE_INFINITY },
      check: (bytes) => lineCheck.check(bytes),
      isHashed: false,
    });
    const chunks = new CheckedChunks(this.#options, batch.id);
    const isDone = () => intake.problems.length >= LISTED_PROBLEMS;
    const pieces = this.#pieces(batch.id, fileId, isDone);
    try {
      await intake.read(pieces, (number, bytes) =>
        // Of a batch that is going to fail nothing is kept.
        intake.badLines > 0 ? undefined : chunks.add(number, bytes),
      );
    } catch (error) {
      if (error === LET_GO) return null;
      if (!(error instanceof RagmillError && error.code === 'too_large')) throw error;
      return [...listed(intake), tooMany(limits)].slice(0, LISTED_PROBLEMS);
    }
    if (intake.badLines > 0) return listed(intake);
    if (intake.lines === 0) return [EMPTY_FILE];
    await chunks.end();
    return [];
  }

  async *#pieces(batchId: string, fileId: string, isDone: () => boolean): AsyncGenerator<Buffer> {
    const { store } = this.#options;
    for (let number = 0; !isDone(); number += 1) {
      this.#stopped.signal.throwIfAborted();
      if ((await store.getBatch(batchId))?.status !== 'validating') throw LET_GO;
      const piece = await store.readFilePiece(fileId, number);
      if (piece === null) return;
      yield piece;
    }
  }
}

/** The lines of a file on their way into the store. */
class CheckedChunks {
  readonly #options: Pick<FileCheckOptions, 'store' | 'checkRoom'>;
  readonly #batchId: string;
  readonly #chunks = new ChunkBuilder();

  constructor(options: Pick<FileCheckOptions, 'store' | 'checkRoom'>, batchId: string) {
    this.#options = options;
    this.#batchId = batchId;
  }

  add(number: number, bytes: Buffer): Promise<void> | undefined {
    const chunk = this.#chunks.add(number, bytes, null);
    return chunk ? this.#store(chunk) : undefined;
  }

  async end(): Promise<void> {
    const last = this.#chunks.flush();
    if (last) await this.#store(last);
  }

  async #store(chunk: Parameters<Store['appendChunk']>[1]): Promise<void> {
    const { store, checkRoom } = this.#options;
    if (chunk.number % CHUNKS_PER_ROOM_CHECK === 0) await checkRoom();
    await store.appendChunk(this.#batchId, chunk);
  }
}

/** The batch does not wait for its check any more. */
const LET_GO = new Error('the batch is not validating any more');

const EMPTY_FILE: ValidationError = {
  code: 'empty_file',
  message: 'The file has no lines.',
  param: null,
  line: null,
};

const NO_FILE: ValidationError = {
  code: 'file_not_found',
  message: 'The input file is not there any more.',
  param: 'input_file_id',
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
