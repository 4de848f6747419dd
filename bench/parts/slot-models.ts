// The simulated model servers as seen from a bench.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ServerCounts } from './slot-counts.ts';
import type { SlotServerOptions } from './slot-model-server.ts';

export interface Command {
  readonly id: number;
  readonly server: number;
  readonly action: 'start' | 'stop' | 'slow-down' | 'refuse-all' | 'reset' | 'counts';
  readonly value: number | null;
}

export interface Answer {
  readonly id: number;
  /** Unix time at which it was done. */
  readonly atMs: number;
  readonly counts: ServerCounts;
}

const PROGRAM = fileURLToPath(new URL('./slot-model-servers.ts', import.meta.url));

export class SlotModels implements AsyncDisposable {
  readonly number: number;
  readonly #child: ChildProcess;
  readonly #basePort: number;
  readonly #answered = new Map<number, (answer: Answer) => void>();
  #commands = 0;

  private constructor(number: number, child: ChildProcess, basePort: number) {
    this.number = number;
    this.#child = child;
    this.#basePort = basePort;
    child.on('message', (answer: Answer) => {
      this.#answered.get(answer.id)?.(answer);
      this.#answered.delete(answer.id);
    });
  }

  static async start(number: number, options: SlotServerOptions): Promise<SlotModels> {
    const child = fork(PROGRAM, [String(number), JSON.stringify(options)], { execArgv: [] });
    const [basePort] = await once(child, 'message');
    return new SlotModels(number, child, Number(basePort));
  }

  /** Of the process that all servers are in. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** As for GPU_ENDPOINTS. */
  get endpoints(): string {
    const urls = Array.from(
      { length: this.number },
      (_, index) => `http://127.0.0.1:${this.#basePort + index}`,
    );
    return urls.map((url, index) => `${nameOf(index)}=${url}`).join();
  }

  /** Answers when it was started. */
  async startServer(index: number): Promise<number> {
    return (await this.#tell('start', index)).atMs;
  }

  /** Answers when it was stopped. */
  async stopServer(index: number): Promise<number> {
    return (await this.#tell('stop', index)).atMs;
  }

  async slowDown(index: number, factor: number): Promise<void> {
    await this.#tell('slow-down', index, factor);
  }

  async refuseAll(index: number, status: number): Promise<void> {
    await this.#tell('refuse-all', index, status);
  }

  /** Their counts, and what they have in their caches. */
  async reset(): Promise<void> {
    await this.#tellAll('reset');
  }

  async counts(): Promise<ServerCounts[]> {
    return (await this.#tellAll('counts')).map(({ counts }) => counts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }

  #tellAll(action: Command['action']): Promise<Answer[]> {
    return Promise.all(Array.from({ length: this.number }, (_, index) => this.#tell(action, index)));
  }

  #tell(action: Command['action'], server: number, value: number | null = null): Promise<Answer> {
    this.#commands += 1;
    const command: Command = { id: this.#commands, server, action, value };
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#answered.set(command.id, resolve);
    this.#child.send(command);
    return promise;
  }
}

/** The name of its endpoint. */
export function nameOf(index: number): string {
  return `sim-${index}`;
}
