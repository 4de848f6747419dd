// The service as a child process: started on a free port with its data in a scratch folder, stopped without a trace.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { settingsSchema } from '../config.ts';

const SERVER = fileURLToPath(new URL('../server.ts', import.meta.url));
/** As in `npm start`: a third of the memory that a long batch takes with Node's own limit, at the same processor time. */
const NODE_ARGUMENTS = ['--max-semi-space-size=8'];
const POLL_INTERVAL_MS = 100;

export interface ServiceProcessOptions {
  /** That of an earlier process, to go on with its data. */
  readonly folder?: string;
  /** true: it may run on when the caller ends. */
  readonly isOutliving?: boolean;
  /** For Node itself, before the program: tests load code of their own with it. */
  readonly nodeArguments?: readonly string[];
}

export class ServiceProcess {
  /** Holds the data folder and the log; removed by stop(). */
  readonly folder: string;
  readonly #child: ChildProcess;
  #url: string | null = null;

  /**
   * Starts it with these settings and no others, whatever the shell has set; in the folder of an earlier process it
   * goes on with that one's data.
   */
  constructor(settings: Readonly<Record<string, string>>, options: ServiceProcessOptions = {}) {
    this.folder = options.folder ?? mkdtempSync(join(tmpdir(), 'ragmill-'));
    const environment = { ...process.env };
    for (const name of Object.keys(settingsSchema.properties)) delete environment[name];
    const log = openSync(this.logPath, 'w');
    this.#child = spawn(process.execPath, [...NODE_ARGUMENTS, ...(options.nodeArguments ?? []), SERVER], {
      // A group of its own: Ctrl-C is for the caller to handle, and it may outlive the terminal.
      detached: true,
      // The service ends when this channel breaks: it does not outlive a caller that was killed.
      stdio: options.isOutliving ? ['ignore', log, log] : ['ignore', log, log, 'ipc'],
      env: { ...environment, HOST: '127.0.0.1', PORT: '0', DATA_DIR: join(this.folder, 'data'), ...settings },
    });
    closeSync(log);
  }

  get logPath(): string {
    return join(this.folder, 'service.log');
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Base URL; to be asked for once it is ready. */
  get url(): string {
    if (this.#url === null) throw new Error('the service does not listen yet');
    return this.#url;
  }

  /** Resolves when the service is ready, telling what it waits for meanwhile. Throws when it gives up. */
  async ready(tell: (reason: string) => void): Promise<void> {
    let told = '';
    for (;;) {
      if (this.hasEnded) throw new Error(this.lastWords());
      this.#url ??= this.#findUrl();
      const readiness = await this.#readiness();
      if (readiness.isReady) return;
      if (readiness.reason !== '' && readiness.reason !== told) tell(readiness.reason);
      told = readiness.reason;
      await sleep(POLL_INTERVAL_MS);
    }
  }

  /** An answer that does not come, or breaks off, is none: the process may be starting, or ending. */
  async #readiness(): Promise<{ isReady: boolean; reason: string }> {
    try {
      const answer = await fetch(`${this.url}/readyz`);
      const { reasons } = (await answer.json()) as { reasons: string[] };
      return { isReady: answer.status === 200, reason: reasons.join(', ') };
    } catch {
      return { isReady: false, reason: '' };
    }
  }

  /** Lets it run on after the caller has ended. */
  release(): void {
    this.#child.unref();
  }

  /** Ends it by this signal and waits; its folder stays. Answers the exit code, null when it died of the signal. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (!this.hasEnded) {
      const ended = once(this.#child, 'exit');
      this.#child.kill(signal);
      await ended;
    }
    return this.exitCode;
  }

  /** Ends it and removes its folder. */
  async stop(): Promise<void> {
    await this.end('SIGTERM');
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** null while it runs, and when it died of a signal. */
  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  #findUrl(): string | null {
    const line = this.#logLines().find((text) => text.includes('"msg":"listening"'));
    return line ? String(JSON.parse(line).url) : null;
  }

  /** What it said last that is no log line: why it gave up. */
  lastWords(): string {
    return this.#logLines().findLast((line) => !line.startsWith('{')) ?? 'the service ended without a word';
  }

  #logLines(): string[] {
    return readFileSync(this.logPath, 'utf8').split('\n').filter(Boolean);
  }
}
