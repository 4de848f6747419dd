// Runs the embedded model endpoint as a child process. It dies with us because its stdin closes; when it dies alone
// it comes back on the same port.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../time.ts';

export interface EndpointProcessOptions {
  readonly clock: Clock;
  readonly log: { warn(fields: object, message: string): void };
}

const PROGRAM = fileURLToPath(new URL('./main.ts', import.meta.url));
const RESTART_DELAY_MS = 500;

export class EndpointProcess {
  readonly #options: EndpointProcessOptions;
  readonly #stopped = new AbortController();
  #child: ChildProcess | null = null;
  #supervising: Promise<void> = Promise.resolve();

  constructor(options: EndpointProcessOptions) {
    this.#options = options;
  }

  /** Resolves with the base URL once it listens; rejects when it cannot start. */
  async start(): Promise<string> {
    const url = await this.#launch(0);
    this.#supervising = this.#supervise(Number(new URL(url).port));
    return url;
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    const child = this.#child;
    if (child && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    }
    await this.#supervising;
  }

  async #launch(port: number): Promise<string> {
    const child = spawn(process.execPath, [PROGRAM, '--port', String(port)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      // Ctrl-C is for the service, which still needs its model while it drains; the child's stdin ends with us.
      detached: true,
    });
    this.#child = child;
    for await (const line of createInterface({ input: child.stdout })) {
      return String(JSON.parse(line).listening);
    }
    throw new Error('the embedded model endpoint ended before it listened');
  }

  async #supervise(port: number): Promise<void> {
    const { clock, log } = this.#options;
    for (;;) {
      if (this.#child && this.#child.exitCode === null && this.#child.signalCode === null) {
        await once(this.#child, 'exit');
      }
      if (this.#stopped.signal.aborted) return;
      log.warn(
        { exitCode: this.#child?.exitCode ?? null },
        'the embedded model endpoint died; starting it again',
      );
      try {
        await clock.sleep(RESTART_DELAY_MS, this.#stopped.signal);
        await this.#launch(port);
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        log.warn({ err: error }, 'the embedded model endpoint does not start');
      }
    }
  }
}
