// The instant model server as seen from a bench: started, its URL, held up, stopped.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('./instant-model-server.ts', import.meta.url));

export interface InstantModel extends AsyncDisposable {
  readonly url: string;
  /** From here on requests arrive and wait, until resume(). */
  hold(): void;
  resume(): void;
}

/** An answer takes `delayMs`. */
export async function startInstantModel(delayMs = 0): Promise<InstantModel> {
  const child = fork(PROGRAM, [String(delayMs)], { execArgv: [] });
  const [port] = await once(child, 'message');
  return {
    url: `http://127.0.0.1:${port}`,
    hold: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
