// The real service process on one data folder, over as many lives as a campaign gives it; and a client of its API that
// takes a broken connection for what it is: no answer.

import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ServiceProcess } from '../../src/cli/service-process.ts';
import { until } from '../fakes/until.ts';
import { type ChaosOrders, ORDERS_VARIABLE } from './kill-order.ts';

const PRELOAD = fileURLToPath(new URL('./chaos-preload.ts', import.meta.url));

/** An answer that came whole. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
}

let folders = 0;

export class ChaosService implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'ragmill-chaos-'));
  readonly #settings: Readonly<Record<string, string>>;
  #process: ServiceProcess | null = null;
  /** Processes started so far. */
  lives = 0;

  /** Takes settings beside those that every campaign needs: at least where Chroma and the model server are. */
  constructor(settings: Readonly<Record<string, string>>) {
    folders += 1;
    this.#settings = {
      RESET_COLLECTION: 'if-changed',
      // Each data folder owns the collection it built, so that one Chroma serves all of them.
      CHROMA_COLLECTION: `chaos-${process.pid}-${folders}`,
      GENERATION_THREADS: '1',
      SHUTDOWN_GRACE_MS: '5000',
      ...settings,
    };
  }

  get #running(): ServiceProcess {
    if (this.#process === null) throw new Error('the service was not started');
    return this.#process;
  }

  get url(): string {
    return this.#running.url;
  }

  get pid(): number {
    const { pid } = this.#running;
    if (pid === undefined) throw new Error('the service could not be started');
    return pid;
  }

  /** What this life has logged so far. */
  log(): string {
    return readFileSync(this.#running.logPath, 'utf8');
  }

  get databasePath(): string {
    return join(this.#folder, 'data', 'ragmill.sqlite');
  }

  /** Starts the next life and waits until it is ready; answers how long that took. */
  async start(orders: ChaosOrders = {}): Promise<number> {
    const startedAtMs = performance.now();
    this.launch(orders);
    await this.ready();
    return performance.now() - startedAtMs;
  }

  /** Starts the next life without waiting for it. */
  launch(orders: ChaosOrders = {}): void {
    this.lives += 1;
    const isPlain = Object.keys(orders).length === 0;
    this.#process = new ServiceProcess(
      { ...this.#settings, ...(isPlain ? {} : { [ORDERS_VARIABLE]: JSON.stringify(orders) }) },
      { folder: this.#folder, nodeArguments: isPlain ? [] : ['--import', PRELOAD] },
    );
  }

  /** Resolves with the base URL as soon as it listens, ready or not. */
  async listening(): Promise<string> {
    let url: string | undefined;
    await until('the service to listen', () => {
      url = /"url":"(http:[^"]+)"/.exec(this.log())?.[1];
      return url !== undefined;
    });
    return url ?? '';
  }

  async ready(): Promise<void> {
    await this.#running.ready(() => {});
  }

  /** Ends this life; answers the exit code, null when it died of the signal. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    return this.#running.end(signal);
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** Waits until it has killed itself, as it was ordered to. */
  async died(): Promise<void> {
    await until('the service to have killed itself', () => this.#running.hasEnded);
  }

  /** Waits until it has ended by itself; answers the exit code. */
  async exited(): Promise<number | null> {
    await until('the service to end', () => this.#running.hasEnded);
    return this.#running.exitCode;
  }

  /** A copy of the database and its log as they lie on the disk: looking at it changes nothing for the next life. */
  copyDatabase(): { readonly path: string; [Symbol.dispose](): void } {
    const folder = mkdtempSync(join(tmpdir(), 'ragmill-chaos-copy-'));
    const data = join(this.#folder, 'data');
    for (const name of readdirSync(data)) {
      // The shared memory of the log is made anew from the log itself, as after a crash of the machine.
      if (/^ragmill\.sqlite(-wal)?$/.test(name)) cpSync(join(data, name), join(folder, name));
    }
    return {
      path: join(folder, 'ragmill.sqlite'),
      [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
    };
  }

  /** null: the connection was refused or broke before the answer was whole. */
  async ask(method: string, path: string, given: RequestInit = {}): Promise<Answer | null> {
    try {
      const answer = await fetch(`${this.url}${path}`, { ...given, method });
      return { status: answer.status, text: await answer.text(), headers: answer.headers };
    } catch {
      return null;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.end('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Asks for the same over and over until nobody answers any more; remembers the statuses. */
export class ServiceAnswers {
  readonly #statuses: number[] = [];
  readonly #done: Promise<void>;

  constructor(service: ChaosService, path: string) {
    this.#done = this.#ask(service, path);
  }

  async end(): Promise<number[]> {
    await this.#done;
    return this.#statuses;
  }

  async #ask(service: ChaosService, path: string): Promise<void> {
    for (;;) {
      const answer = await service.ask('GET', path);
      if (answer === null) return;
      this.#statuses.push(answer.status);
    }
  }
}
