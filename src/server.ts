// Where the process starts. Everything but this file comes out of Node's compile cache, which has to be on before it is
// loaded: without it every thread of every start strips the types of all sources anew, with a compiler of its own.

import { enableCompileCache, flushCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Beside the installed packages: whoever may write there may change the program anyway. Where nobody may, Node does without.
const cacheFolder =
  process.env.NODE_COMPILE_CACHE ?? fileURLToPath(new URL('../node_modules/.cache/ragmill', import.meta.url));
const { directory } = enableCompileCache(cacheFolder);
// Threads and children look for it here.
if (directory !== undefined) process.env.NODE_COMPILE_CACHE = directory;
await import('./service.ts');
// Listening by now. A process that is killed later would keep nothing.
flushCompileCache();
