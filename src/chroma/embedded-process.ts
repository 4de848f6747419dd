// One run of the embedded Chroma server: its process, its output, its end. Restarting is the supervisor's business.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { BaseLogger } from 'pino';
import type { Clock } from '../time.ts';

/** How a run ended. Every ending is a failure unless we asked for it: Chroma exits with 0 where its port is taken. */
export interface ProcessEnding {
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** The last line it wrote to standard error, or the reason why it could not be started. */
  readonly lastWords: string;
}

const childProgram = fileURLToPath(new URL('./embedded-child.ts', import.meta.url));

export class EmbeddedProcess {
  /** Resolves when the process is gone and its output has been read. Never rejects. */
  readonly ended: Promise<ProcessEnding>;
  readonly #child: ChildProcess;
  readonly #log: BaseLogger;
  #ending: ProcessEnding | null = null;
  #lastWords = '';

  /** Starts the process; whether it serves is for the caller to find out. */
  constructor(dataDir: string, port: number, log: BaseLogger) {
    this.#log = log;
    this.#child = spawn(process.execPath, [childProgram, dataDir, String(port)], {
      stdio: ['pipe', 'pipe', 'pipe'],
      // A process group of its own: Ctrl-C on a terminal must reach ragmill only, which still needs Chroma to drain.
      detached: true,
      // Chroma reads settings from CHROMA_…, RUST_LOG and OTEL_… variables, of which ours mean other things.
      env: compileCacheOnly(),
    });
    this.#readOutput();
    this.ended = this.#waitForEnd();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get hasEnded(): boolean {
    return this.#ending !== null;
  }

  /** Ends the process for certain: politely first, by force after `graceMs`. Resolves when it is gone. */
  async end(clock: Clock, graceMs: number): Promise<void> {
    this.#child.kill('SIGTERM');
    const giveUp = new AbortController();
    const grace = clock.sleep(graceMs, giveUp.signal).then(
      () => this.#child.kill('SIGKILL'),
      () => false,
    );
    await this.ended;
    giveUp.abort();
    await grace;
  }

  #readOutput(): void {
    const { stdin, stdout, stderr } = this.#child;
    // Nothing is ever written to this pipe; its end tells the child that we died.
    stdin?.on('error', () => {});
    if (stdout) createInterface({ input: stdout }).on('line', (line) => this.#heard(line));
    if (stderr) {
      createInterface({ input: stderr }).on('line', (line) => {
        if (line.trim() !== '') this.#lastWords = line.trim();
        this.#heard(line);
      });
    }
  }

  #heard(line: string): void {
    if (line.trim() !== '') this.#log.debug({ line }, 'embedded Chroma says');
  }

  async #waitForEnd(): Promise<ProcessEnding> {
    try {
      const [exitCode, signal] = await once(this.#child, 'close');
      this.#ending = { exitCode, signal, lastWords: this.#lastWords };
    } catch (error) {
      const lastWords = error instanceof Error ? error.message : String(error);
      this.#ending = { exitCode: null, signal: null, lastWords };
    }
    return this.#ending;
  }
}

/** Our compiled code is good for the child, too: without it each of its threads strips types anew. */
function compileCacheOnly(): NodeJS.ProcessEnv {
  const { NODE_COMPILE_CACHE } = process.env;
  return NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE };
}
