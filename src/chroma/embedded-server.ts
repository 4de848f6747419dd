// The embedded Chroma server: a supervised child process that serves on 127.0.0.1.
//
// 1. At most one child process at a time, and none once stop() has resolved.
// 2. The URL that start() gave never changes: a crashed server comes back on the same port.
// 3. A start that fails leaves no process behind.

import { mkdir } from 'node:fs/promises';
import type { BaseLogger } from 'pino';
import { RagmillError } from '../errors.ts';
import { type Clock, fullJitterMs } from '../time.ts';
import { ChromaConnection } from './chroma-client.ts';
import { bindingUnusableExitCode } from './embedded-binding.ts';
import { EmbeddedProcess, type ProcessEnding } from './embedded-process.ts';
import { findFreePort, isPortFree } from './free-port.ts';

export interface EmbeddedChromaOptions {
  /** Folder of Chroma's data; created where it is missing. */
  readonly dataDir: string;
  readonly log: BaseLogger;
  readonly clock: Clock;
  /** How long a start may take, sweep of the folder included. */
  readonly startTimeoutMs?: number;
}

const defaultStartTimeoutMs = 300_000;
const startAttempts = 3;
const heartbeatTimeoutMs = 2_000;
const heartbeatPauseMs = 25;
const stopGraceMs = 5_000;
const restartBaseMs = 200;
const restartCapMs = 10_000;
/** A server that served for this long was healthy: the next crash counts as the first. */
const healthyAfterMs = 60_000;

type Launch = { readonly kind: 'serving' } | { readonly kind: 'ended'; readonly ending: ProcessEnding };

export class EmbeddedChroma {
  readonly #options: EmbeddedChromaOptions;
  readonly #stopping = new AbortController();
  #process: EmbeddedProcess | null = null;
  #started: Promise<{ url: string }> | null = null;
  #supervision: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | null = null;

  constructor(options: EmbeddedChromaOptions) {
    this.#options = options;
  }

  /** Id of the running server's process; undefined while there is none. */
  get pid(): number | undefined {
    return this.#process === null || this.#process.hasEnded ? undefined : this.#process.pid;
  }

  /**
   * Resolves when the server answers. Rejects with `chroma_unsupported` where no server can run on this machine,
   * with `chroma_unavailable` where it will not start, and with the abort reason when stop() comes first.
   */
  start(): Promise<{ url: string }> {
    this.#started ??= this.#startServer();
    return this.#started;
  }

  /** Ends the server for certain, also one that is starting. Idempotent; legal before start(). */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopServer();
    return this.#stopped;
  }

  async #startServer(): Promise<{ url: string }> {
    const { clock, dataDir, log, startTimeoutMs = defaultStartTimeoutMs } = this.#options;
    const deadline = clock.monotonicMs() + startTimeoutMs;
    await mkdir(dataDir, { recursive: true });
    for (let attempt = 1; ; attempt++) {
      this.#stopping.signal.throwIfAborted();
      const port = await findFreePort();
      const launch = await this.#launch(port, deadline);
      if (launch.kind === 'serving') {
        const url = urlOf(port);
        log.info({ url, dataDir, pid: this.pid }, 'embedded Chroma is serving');
        this.#supervision = this.#keepRunning(port);
        return { url };
      }
      const failure = describeFailedStart(launch.ending);
      if (failure.code === 'chroma_unsupported' || attempt === startAttempts) throw failure;
      log.warn({ attempt, reason: failure.message }, 'embedded Chroma did not start, trying again');
    }
  }

  /** Starts a process on the port and waits until it serves or is gone. Throws at the deadline and when stopped. */
  async #launch(port: number, deadline: number): Promise<Launch> {
    const { clock, dataDir, log } = this.#options;
    const signal = this.#stopping.signal;
    signal.throwIfAborted();
    const child = new EmbeddedProcess(dataDir, port, log);
    this.#process = child;
    const connection = new ChromaConnection({ url: urlOf(port) });
    try {
      while (!child.hasEnded) {
        const beat = await connection.call((client) => client.heartbeat(), {
          timeoutMs: heartbeatTimeoutMs,
          signal,
        });
        if (beat.kind === 'ok' && !child.hasEnded) return { kind: 'serving' };
        if (clock.monotonicMs() > deadline) {
          throw new RagmillError('chroma_unavailable', 'The embedded Chroma runs but does not answer.');
        }
        await clock.sleep(heartbeatPauseMs, signal);
      }
      return { kind: 'ended', ending: await child.ended };
    } catch (error) {
      await child.end(clock, stopGraceMs);
      throw error;
    }
  }

  /** Restarts the server whenever it ends, until stop(). Never rejects. */
  async #keepRunning(port: number): Promise<void> {
    const { clock, log } = this.#options;
    const signal = this.#stopping.signal;
    let failures = 0;
    let servingSinceMs = clock.monotonicMs();
    while (!signal.aborted) {
      const ending = await this.#process?.ended;
      if (signal.aborted) return;
      if (clock.monotonicMs() - servingSinceMs > healthyAfterMs) failures = 0;
      log.error({ ...ending, failures }, 'embedded Chroma has ended, restarting it');
      try {
        await clock.sleep(fullJitterMs(failures++, restartBaseMs, restartCapMs), signal);
        if (!(await isPortFree(port))) continue;
        const launch = await this.#launch(port, clock.monotonicMs() + defaultStartTimeoutMs);
        if (launch.kind === 'ended') continue;
        servingSinceMs = clock.monotonicMs();
        log.info({ url: urlOf(port), pid: this.pid }, 'embedded Chroma is serving again');
      } catch (error) {
        if (!signal.aborted) log.error({ err: error }, 'embedded Chroma could not be restarted');
      }
    }
  }

  async #stopServer(): Promise<void> {
    this.#stopping.abort();
    // A start in progress ends its own process when it sees the signal; its caller hears of it through start().
    await this.#started?.catch(() => {});
    await this.#process?.end(this.#options.clock, stopGraceMs);
    await this.#supervision;
  }
}

function urlOf(port: number): string {
  return `http://127.0.0.1:${port}`;
}

/** The one line that a user reads about a start that failed. SIGILL is how a binding ends on a processor that is too old for it. */
export function describeFailedStart(ending: ProcessEnding): RagmillError {
  const advice = 'Set CHROMA_URL to the address of a Chroma server.';
  if (ending.exitCode === bindingUnusableExitCode || ending.signal === 'SIGILL') {
    const reason = ending.signal ?? ending.lastWords;
    return new RagmillError(
      'chroma_unsupported',
      `The embedded Chroma cannot run here: ${reason}. ${advice}`,
    );
  }
  const how = ending.signal ?? `exit code ${ending.exitCode}`;
  const words = ending.lastWords === '' ? '' : `, last words: ${ending.lastWords}`;
  return new RagmillError(
    'chroma_unavailable',
    `The embedded Chroma did not start (${how}${words}). ${advice}`,
  );
}
