// A worker thread of the embedded Chroma server's process: ends that process when its parent dies, however it died.
// The parent holds the other end of standard input and writes nothing to it, so the read returns only at its death.
// It has to be a thread with a blocking read, because the main thread is inside Chroma and runs no callbacks.

import { readSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { parentPort } from 'node:worker_threads';

parentPort?.postMessage('watching');
// Nothing runs in this thread after the read.
flushCompileCache();
try {
  const unused = Buffer.alloc(64);
  while (readSync(0, unused) > 0);
} finally {
  process.kill(process.pid, 'SIGKILL');
}
