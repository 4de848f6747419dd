// The service as a child process of the demo: started on a free port in a scratch folder, stopped without a trace.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { settingsSchema } from '../config.ts';

const SERVER = fileURLToPath(new URL('../server.ts', import.meta.url));
const POLL_INTERVAL_MS = 100;

export class DemoService {
  readonly folder: string;
  readonly #child: ChildProcess;
  #url: string | null = null;

  /** Starts it with these settings and no others, whatever the shell has set. */
  constructor(settings: Record<string, string>) {
    this.folder = mkdtempSync(join(tmpdir(), 'ragmill-demo-'));
    const environment = { ...process.env };
    for (const name of Object.keys(settingsSchema.properties)) delete environment[name];
    const log = openSync(this.logPath, 'a');
    this.#child = spawn(process.execPath, [SERVER], {
      // A group of its own: Ctrl-C is the demo's to handle, and --keep outlives the terminal.
      detached: true,
      stdio: ['ignore', log, log],
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
      if (this.#hasEnded) throw new Error(`the service ended: ${this.#lastWords()}`);
      this.#url ??= this.#findUrl();
      const answer = this.#url && (await fetch(`${this.#url}/readyz`).catch(() => null));
      if (answer && answer.status === 200) return;
      const reason = answer ? ((await answer.json()) as { reasons: string[] }).reasons.join(', ') : '';
      if (reason !== '' && reason !== told) tell(reason);
      told = reason;
      await sleep(POLL_INTERVAL_MS);
    }
  }

  /** Lets it run on after the demo has ended. */
  release(): void {
    this.#child.unref();
  }

  async stop(): Promise<void> {
    if (!this.#hasEnded) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGTERM');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  #findUrl(): string | null {
    const line = this.#logLines().find((text) => text.includes('"msg":"listening"'));
    return line ? String(JSON.parse(line).url) : null;
  }

  #lastWords(): string {
    return this.#logLines().findLast((line) => !line.startsWith('{')) ?? 'it said nothing';
  }

  #logLines(): string[] {
    return readFileSync(this.logPath, 'utf8').split('\n').filter(Boolean);
  }
}
