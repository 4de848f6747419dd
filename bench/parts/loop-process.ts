// A program that answers files of questions, as seen from a bench: started, asked for one file after the other, stopped.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export class LoopProcess implements AsyncDisposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** `program`: a file of this folder. */
  static async start(program: string, programArguments: readonly string[]): Promise<LoopProcess> {
    const path = fileURLToPath(new URL(program, import.meta.url));
    const child = fork(path, programArguments, { execArgv: [] });
    await said(child);
    return new LoopProcess(child);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Resolves when every question of the file is answered, with their number. */
  async answer(path: string): Promise<number> {
    this.#child.send(path);
    return Number(await said(this.#child));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

/** What the program says next. Throws when it ends instead. */
async function said(child: ChildProcess): Promise<unknown> {
  const heard = new AbortController();
  const ended = once(child, 'exit', heard).then(() => {
    throw new Error('the program that is compared with has ended');
  });
  try {
    const [message] = await Promise.race([once(child, 'message', heard), ended]);
    return message;
  } finally {
    ended.catch(() => {});
    heard.abort();
  }
}
