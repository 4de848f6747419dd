// Asks a command-line tool one question. Drivers hang and tools of drivers hang with them, sometimes so that not even a
// kill ends them: whatever the tool does, there is an answer after a few seconds, and nothing is thrown.

import { type ChildProcess, execFile } from 'node:child_process';
import type { Clock } from '../time.ts';

export type ToolAnswer =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'missing' }
  /** It hangs, and so will what is asked next of the same driver. */
  | { readonly kind: 'silent'; readonly reason: string }
  /** `text` is what it wrote to its standard output all the same. */
  | { readonly kind: 'failed'; readonly reason: string; readonly text: string };

export interface ToolOptions {
  readonly clock: Clock;
  /** Folders to look for the tool in, as in PATH; null: those of this process. */
  readonly searchPath: string | null;
}

/** Without its persistence daemon nvidia-smi takes a second or two on a large machine. */
const TIMEOUT_MS = 5_000;
const OUTPUT_BYTES = 1024 ** 2;

export async function toolAnswer(
  tool: string,
  args: readonly string[],
  options: ToolOptions,
): Promise<ToolAnswer> {
  const ended = new AbortController();
  let child: ChildProcess | null = null;
  const answer = new Promise<ToolAnswer>((resolve) => {
    child = execFile(tool, args, execOptions(options), (error, text) => resolve(answerOf(error, text)));
    // It has nothing to read.
    child.stdin?.on('error', () => {}).end();
  });
  const timeout = options.clock.sleep(TIMEOUT_MS, ended.signal).then(
    (): ToolAnswer => ({ kind: 'silent', reason: `no answer within ${TIMEOUT_MS / 1000} s` }),
    // The answer came first.
    (): Promise<ToolAnswer> => answer,
  );
  try {
    return await Promise.race([answer, timeout]);
  } catch (error) {
    return { kind: 'failed', reason: String(error), text: '' };
  } finally {
    ended.abort();
    if (child) abandon(child);
  }
}

function execOptions({ searchPath }: ToolOptions): object {
  const environment = searchPath === null ? {} : { env: { PATH: searchPath } };
  return { ...environment, maxBuffer: OUTPUT_BYTES, killSignal: 'SIGKILL', windowsHide: true };
}

function answerOf(error: Error | null, text: string): ToolAnswer {
  if (error === null) return { kind: 'text', text };
  if ('code' in error && error.code === 'ENOENT') return { kind: 'missing' };
  const [reason = ''] = error.message.replace(/^Command failed: .*\n/, '').split('\n', 1);
  return { kind: 'failed', reason, text };
}

/** A child that the kernel does not let die, or whose own children keep its pipes open, must hold up nobody. */
function abandon(child: ChildProcess): void {
  child.kill('SIGKILL');
  child.stdout?.destroy();
  child.stderr?.destroy();
  child.unref();
}
