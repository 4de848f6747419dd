// A model server that can be stopped in the middle of everything (SIGSTOP): the kernel goes on accepting connections and
// requests for it, and nobody answers.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';

const PROGRAM = fileURLToPath(new URL('./stoppable-main.ts', import.meta.url));

export class StoppableModelServer {
  readonly url: string;
  readonly #child: ChildProcess;

  /** It ends with the test. */
  static async start(t: Pick<Test, 'teardown'>): Promise<StoppableModelServer> {
    const child = fork(PROGRAM);
    t.teardown(() => child.kill('SIGKILL'));
    const [url] = (await once(child, 'message')) as [string];
    return new StoppableModelServer(url, child);
  }

  private constructor(url: string, child: ChildProcess) {
    this.url = url;
    this.#child = child;
  }

  stop(): void {
    this.#child.kill('SIGSTOP');
  }

  goOn(): void {
    this.#child.kill('SIGCONT');
  }
}
