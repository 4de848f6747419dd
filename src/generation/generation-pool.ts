// The threads that generation runs in, behind one method. Piscina owns the threads and replaces dead ones; to it each
// thread has one task, which lasts as long as the thread. The lines go over a port of the thread's own, to the thread
// that has fewest.
//
// 1. Every generate() ends with a value, whatever becomes of its thread: a task whose thread died is ambiguous.
// 2. A cancelled task ends at once for its caller; its connection is destroyed by the thread right after.
// 3. Piscina never sees an abort signal: it would kill the thread, and with it everybody else's tasks.
// 4. No line is queued: each thread takes all it is given. What may run is decided by the endpoints' gates. Only while no
//    thread has started do lines wait.

import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { Piscina } from 'piscina';
import type { GenerationOutcome, GenerationTask } from '../domain/generation.ts';
import { cancelledFailure, modelFailure } from '../model-server/failures.ts';
import type { CancelSignal } from '../model-server/model-server-client.ts';
import { SlotTable } from './slot-table.ts';
import { ThreadLink } from './thread-link.ts';
import {
  MAX_RUNNING_TASKS,
  type WorkerAnswer,
  type WorkerLink,
  type WorkerSetup,
} from './worker-protocol.ts';

interface GenerationPoolOptions {
  readonly threads: number;
  readonly log: Pick<Logger, 'error'>;
}

/**
 * Megabytes of a thread's young generation. Node's own limit is several times as much; a thread that lives on short-lived
 * objects fills it, whatever the limit, and gains nothing measurable by it.
 */
const YOUNG_GENERATION_MB = 24;

interface RunningTask {
  readonly task: GenerationTask;
  readonly end: (outcome: GenerationOutcome) => void;
  readonly onBegun: (() => void) | undefined;
  /** null: no thread has it yet. */
  link: ThreadLink | null;
}

export class GenerationPool {
  readonly #threads: number;
  readonly #log: GenerationPoolOptions['log'];
  readonly #cancelFlags = new Uint8Array(new SharedArrayBuffer(MAX_RUNNING_TASKS));
  readonly #cancelChannel = new BroadcastChannel(`ragmill-generation-${randomUUID()}`);
  readonly #tasks = new SlotTable<RunningTask>(MAX_RUNNING_TASKS);
  readonly #links = new Set<ThreadLink>();
  readonly #piscina: Piscina<WorkerLink, void>;
  #closing: Promise<void> | null = null;

  /** Starts the threads, which stay until close(). */
  constructor({ threads, log }: GenerationPoolOptions) {
    this.#threads = threads;
    this.#log = log;
    const setup: WorkerSetup = {
      cancelChannel: this.#cancelChannel.name,
      cancelFlags: this.#cancelFlags,
    };
    this.#piscina = new Piscina({
      filename: new URL('./worker.ts', import.meta.url).href,
      minThreads: threads,
      maxThreads: threads,
      // Threads that wait in Atomics.wait would not notice that servers close their idle connections.
      atomics: 'disabled',
      recordTiming: false,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
      workerData: setup,
    });
    this.#piscina.on('error', (error) => this.#onThreadError(error));
    this.#piscina.on('workerDestroy', () => queueMicrotask(() => this.#onThreadEnd()));
    // Piscina hands these over to its first threads right now.
    for (const link of this.#openLinks()) link.isOpen = true;
  }

  /** Runs one generation in a thread. Aborting the signal ends it as cancelled; `onBegun`: its answer begins to come. */
  async generate(
    task: GenerationTask,
    signal?: CancelSignal,
    onBegun?: () => void,
  ): Promise<GenerationOutcome> {
    if (this.#closing !== null || signal?.aborted) return cancelledFailure();
    const { promise: ended, resolve: end } = Promise.withResolvers<GenerationOutcome>();
    const running: RunningTask = { task, end, onBegun, link: null };
    const slot = this.#tasks.add(running);
    if (slot === null) return modelFailure('overload', 'too many generations are running');
    const cancel = () => {
      // By now the slot may be somebody else's.
      if (this.#closing === null && this.#tasks.get(slot) === running) this.#cancel(slot);
    };
    signal?.addEventListener('abort', cancel, { once: true });
    this.#openLinks();
    this.#send(slot, running);
    const outcome = await ended;
    signal?.removeEventListener('abort', cancel);
    return outcome;
  }

  /** Ends what is running as cancelled and stops the threads, without waiting for any server. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** To the open thread with the fewest tasks; where none is open, it waits for one. */
  #send(slot: number, running: RunningTask): void {
    let least: ThreadLink | null = null;
    for (const link of this.#links) {
      if (link.isOpen && (least === null || link.running < least.running)) least = link;
    }
    running.link = least;
    least?.send({ slot, task: running.task, isWatched: running.onBegun !== undefined });
  }

  /** A link for each thread that has none. Where Piscina has no thread for it, it starts one. */
  #openLinks(): ThreadLink[] {
    const opened: ThreadLink[] = [];
    while (this.#links.size < this.#threads) {
      const link = new ThreadLink();
      this.#links.add(link);
      opened.push(link);
      link.listen((answers) => this.#onAnswers(link, answers));
      void this.#keep(link);
    }
    return opened;
  }

  async #keep(link: ThreadLink): Promise<void> {
    const { farPort: port } = link;
    try {
      await this.#piscina.run({ port }, { transferList: [port] });
    } catch (error) {
      if (this.#links.has(link)) this.#onLost(link, error);
    } finally {
      this.#drop(link);
    }
  }

  #onAnswers(link: ThreadLink, answers: readonly WorkerAnswer[]): void {
    for (const answer of answers) {
      if ('hasBegun' in answer) {
        this.#tasks.get(answer.slot)?.onBegun?.();
        continue;
      }
      link.running -= 1;
      if ('outcome' in answer) this.#end(answer.slot, answer.outcome);
      else this.#fail(answer.slot, answer.error);
    }
    if (link.isOpen) return;
    link.isOpen = true;
    for (const [slot, running] of this.#tasks.entries()) {
      if (running.link === null) this.#send(slot, running);
    }
  }

  #onLost(link: ThreadLink, error: unknown): void {
    if (link.running === 0) this.#onThreadError(error);
    for (const [slot, running] of this.#tasks.entries()) if (running.link === link) this.#fail(slot, error);
  }

  #drop(link: ThreadLink): void {
    this.#links.delete(link);
    link.close();
  }

  #fail(slot: number, error: unknown): void {
    const taskId = this.#tasks.get(slot)?.task.id;
    if (this.#closing === null) this.#log.error({ err: error, taskId }, 'generation thread failed');
    this.#end(slot, modelFailure('ambiguous', 'the thread that ran the generation failed'));
  }

  #end(slot: number, outcome: GenerationOutcome): void {
    const running = this.#tasks.get(slot);
    this.#tasks.delete(slot);
    Atomics.store(this.#cancelFlags, slot, 0);
    running?.end(outcome);
  }

  /** The slot stays taken until the thread has let go of it. */
  #cancel(slot: number): void {
    const running = this.#tasks.get(slot);
    if (running?.link === null) this.#end(slot, cancelledFailure());
    else {
      Atomics.store(this.#cancelFlags, slot, 1);
      this.#cancelChannel.postMessage(slot);
      running?.end(cancelledFailure());
    }
  }

  /** Trouble that belongs to no task. While closing, it is only answers that nobody waits for any more. */
  #onThreadError(error: unknown): void {
    if (this.#closing === null) this.#log.error({ err: error }, 'generation thread failed');
  }

  /** Threads that die while they start are not replaced; when none is left, nobody else would end the tasks. */
  #onThreadEnd(): void {
    if (this.#closing !== null || this.#piscina.threads.length > 0) return;
    this.#log.error('no generation thread is left');
    for (const link of this.#links) if (!link.isOpen) this.#drop(link);
    for (const [slot, { link }] of this.#tasks.entries()) {
      if (link === null) this.#end(slot, modelFailure('ambiguous', 'no generation thread could be started'));
    }
  }

  async #close(): Promise<void> {
    for (const [slot] of this.#tasks.entries()) this.#cancel(slot);
    this.#cancelChannel.close();
    await this.#piscina.destroy();
  }
}
