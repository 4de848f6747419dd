// The embedded Chroma server's own process: sweeps the data folder, then serves until it is killed.
// Usage: node embedded-child.ts <data folder> <port>; the parent keeps a pipe on its standard input open.
//
// Chroma's cli() blocks this thread for as long as it serves, therefore:
// 1. SIGTERM has no handler, so that it ends the process at once; with any handler it would do nothing. SIGINT has one,
//    because without it SIGINT would leave a process that spins for ever and serves nobody.
// 2. Another thread watches for the parent's death. It is blocked in a read, and process.exit() would wait for it, so
//    the process kills itself instead. Acknowledged writes are on disk by then.
// 3. Every way in which cli() ends means that the server is not serving; a taken port even exits with 0.

import { once } from 'node:events';
import { flushCompileCache } from 'node:module';
import { Worker } from 'node:worker_threads';
import { bindingUnusableExitCode, loadChromaBinding } from './embedded-binding.ts';
import { sweepChromaFolder } from './embedded-sweep.ts';

async function serve(dataDir: string, port: string): Promise<void> {
  const loaded = loadChromaBinding(`${process.platform}-${process.arch}`);
  if (loaded.kind === 'unusable') {
    process.stderr.write(`${loaded.reason}\n`);
    process.exitCode = bindingUnusableExitCode;
    return;
  }
  const watch = new Worker(new URL('./embedded-orphan-watch.ts', import.meta.url));
  await once(watch, 'message');
  process.stdout.write(`${JSON.stringify(sweepChromaFolder(dataDir))}\n`);
  process.removeAllListeners('SIGTERM');
  process.on('SIGINT', die);
  // This process never ends in a way that would keep what it compiled.
  flushCompileCache();
  loaded.binding.cli(['chroma', 'run', '--path', dataDir, '--host', '127.0.0.1', '--port', port]);
  die();
}

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

const [dataDir, port] = process.argv.slice(2);
if (dataDir === undefined || port === undefined)
  throw new Error('usage: embedded-child.ts <data folder> <port>');
await serve(dataDir, port);
