// Where the Chroma server's native binding comes from: one npm package per platform, all of them optional, so
// that a platform without one can still install ragmill and use a Chroma server of its own.

import { createRequire } from 'node:module';

/** The one function a binding has: runs Chroma's command line and blocks the thread while a server serves. */
interface ChromaBinding {
  cli(argv: string[]): void;
}

/** Exit code of the child for "cannot be loaded here", which no restart can cure. The number is sysexits' EX_CONFIG. */
export const bindingUnusableExitCode = 78;

/** The packages that the chromadb client itself chooses among, by platform and architecture. */
const packages: Readonly<Record<string, string>> = {
  'darwin-arm64': 'chromadb-js-bindings-darwin-arm64',
  'darwin-x64': 'chromadb-js-bindings-darwin-x64',
  'linux-arm64': 'chromadb-js-bindings-linux-arm64-gnu',
  'linux-x64': 'chromadb-js-bindings-linux-x64-gnu',
  'win32-arm64': 'chromadb-js-bindings-win32-arm64-msvc',
};

export type BindingLoad =
  | { readonly kind: 'loaded'; readonly binding: ChromaBinding }
  | { readonly kind: 'unusable'; readonly reason: string };

/**
 * Loads the binding for `platform` (as in `linux-x64`). It cannot be loaded where there is none for the platform,
 * where it was not installed, or where the C library is too old or not the one it was built for.
 */
export function loadChromaBinding(platform: string): BindingLoad {
  const packageName = packages[platform];
  if (packageName === undefined) {
    return { kind: 'unusable', reason: `there is no Chroma server for ${platform}` };
  }
  try {
    const binding: ChromaBinding = createRequire(import.meta.url)(packageName);
    return { kind: 'loaded', binding };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { kind: 'unusable', reason: `${packageName} cannot be loaded (${text.split('\n', 1)[0]})` };
  }
}
