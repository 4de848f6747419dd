// The threads that generation runs in, behind one method. Piscina spreads the tasks and replaces dead threads.
//
// 1. Every generate() ends with a value, whatever becomes of its thread: a task whose thread died is ambiguous.
// 2. A cancelled task ends at once for its caller; its connection is destroyed by the thread right after.
// 3. Piscina never sees an abort signal: it would kill the thread, and with it everybody else's tasks.
// 4. Piscina never queues: each thread takes all it is given. What may run is decided by the endpoints' gates.

import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { Piscina } from 'piscina';
import type { GenerationOutcome, GenerationTask } from '../domain/generation.ts';
import { cancelledFailure, modelFailure } from '../model-server/failures.ts';
import { SlotTable } from './slot-table.ts';
import { MAX_RUNNING_TASKS, type WorkerSetup, type WorkerTask } from './worker-protocol.ts';

interface GenerationPoolOptions {
  readonly threads: number;
  readonly log: Pick<Logger, 'error'>;
}

/**
 * Megabytes of a thread's young generation. Node's own limit is several times as much; a thread that lives on short-lived
 * objects fills it, whatever the limit, and gains nothing measurable by it.
 */
const YOUNG_GENERATION_MB = 24;

type EndTask = (outcome: GenerationOutcome) => void;

export class GenerationPool {
  readonly #log: GenerationPoolOptions['log'];
  readonly #cancelFlags = new Uint8Array(new SharedArrayBuffer(MAX_RUNNING_TASKS));
  readonly #cancelChannel = new BroadcastChannel(`ragmill-generation-${randomUUID()}`);
  readonly #tasks = new SlotTable<EndTask>(MAX_RUNNING_TASKS);
  readonly #piscina: Piscina<WorkerTask, GenerationOutcome>;
  #closing: Promise<void> | null = null;

  /** Starts the threads, which stay until close(). */
  constructor({ threads, log }: GenerationPoolOptions) {
    this.#log = log;
    const setup: WorkerSetup = {
      cancelChannel: this.#cancelChannel.name,
      cancelFlags: this.#cancelFlags,
    };
    this.#piscina = new Piscina({
      filename: new URL('./worker.ts', import.meta.url).href,
      minThreads: threads,
      maxThreads: threads,
      concurrentTasksPerWorker: MAX_RUNNING_TASKS,
      // Threads that wait in Atomics.wait would not notice that servers close their idle connections.
      atomics: 'disabled',
      recordTiming: false,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
      workerData: setup,
    });
    this.#piscina.on('error', (error) => this.#onThreadError(error));
    this.#piscina.on('workerDestroy', () => queueMicrotask(() => this.#onThreadEnd()));
  }

  /** Runs one generation in a thread. Aborting the signal ends it as cancelled. */
  async generate(task: GenerationTask, signal?: AbortSignal): Promise<GenerationOutcome> {
    if (this.#closing !== null || signal?.aborted) return cancelledFailure();
    const { promise: endedEarly, resolve: end } = Promise.withResolvers<GenerationOutcome>();
    const slot = this.#tasks.add(end);
    if (slot === null) return modelFailure('overload', 'too many generations are running');
    const cancel = () => {
      // By now the slot may be somebody else's.
      if (this.#tasks.get(slot) === end) this.#end(slot, cancelledFailure());
    };
    signal?.addEventListener('abort', cancel, { once: true });
    const outcome = await Promise.race([endedEarly, this.#run({ slot, task })]);
    signal?.removeEventListener('abort', cancel);
    return outcome;
  }

  /** Ends what is running as cancelled and stops the threads, without waiting for any server. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #run({ slot, task }: WorkerTask): Promise<GenerationOutcome> {
    try {
      return await this.#piscina.run({ slot, task });
    } catch (error) {
      if (this.#closing !== null) return cancelledFailure();
      this.#log.error({ err: error, taskId: task.id }, 'generation thread failed');
      return modelFailure('ambiguous', 'the thread that ran the generation failed');
    } finally {
      this.#tasks.delete(slot);
      Atomics.store(this.#cancelFlags, slot, 0);
    }
  }

  #end(slot: number, outcome: GenerationOutcome): void {
    Atomics.store(this.#cancelFlags, slot, 1);
    this.#cancelChannel.postMessage(slot);
    this.#tasks.get(slot)?.(outcome);
  }

  /** Trouble that belongs to no task. While closing, it is only answers that nobody waits for any more. */
  #onThreadError(error: unknown): void {
    if (this.#closing === null) this.#log.error({ err: error }, 'generation thread failed');
  }

  /** Threads that die while they start are not replaced; when none is left, nobody else would end the tasks. */
  #onThreadEnd(): void {
    if (this.#closing !== null || this.#piscina.threads.length > 0) return;
    this.#log.error('no generation thread is left');
    for (const slot of this.#tasks.slots()) {
      this.#end(slot, modelFailure('ambiguous', 'no generation thread could be started'));
    }
  }

  async #close(): Promise<void> {
    for (const slot of this.#tasks.slots()) this.#end(slot, cancelledFailure());
    this.#cancelChannel.close();
    await this.#piscina.destroy();
  }
}
