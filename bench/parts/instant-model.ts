// The instant model server as seen from a bench: started, its URL, stopped.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('./instant-model-server.ts', import.meta.url));

export interface InstantModel extends AsyncDisposable {
  readonly url: string;
}

export async function startInstantModel(): Promise<InstantModel> {
  const child = fork(PROGRAM, { execArgv: [] });
  const [port] = await once(child, 'message');
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit');
      child.kill();
      await ended;
    },
  };
}
