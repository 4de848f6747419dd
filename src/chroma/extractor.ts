// Takes HTML and PDF files apart in a process of its own, one at a time, with a time for each.
//
// 1. Every file has exactly one ending, as a value: a process that dies, hangs or cannot be started is one.
// 2. The process starts with the first file, and serves until it ends or the extractor is disposed of.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Extraction, type ExtractionOrder, extractionFailure } from './extraction.ts';

const program = fileURLToPath(new URL('./extract-child.ts', import.meta.url));
/** Of V8's own; with what lies outside of it the process is watched by itself. */
const heapMaxMegabytes = 512;
/** A PDF of a thousand pages takes some ten seconds. */
const defaultTimeoutMs = 120_000;

export class Extractor implements AsyncDisposable {
  readonly #timeoutMs: number;
  #child: ChildProcess | null = null;

  constructor(timeoutMs = defaultTimeoutMs) {
    this.#timeoutMs = timeoutMs;
  }

  /** The text of one file. To be awaited before the next call. Never rejects. */
  async extract(order: ExtractionOrder): Promise<Extraction> {
    if (!this.#child?.connected) this.#child = start();
    const child = this.#child;
    const { promise, resolve } = Promise.withResolvers<Extraction>();
    const answered = (extraction: unknown) => resolve(extraction as Extraction);
    const ended = (code: number | null, signal: string | null) => {
      const how = signal ?? `exit code ${code}`;
      const message = `Reading it ended the process that reads files (${how}): it takes too much memory`;
      resolve(extractionFailure('too_complex', message));
    };
    const failed = (error: Error) =>
      resolve(extractionFailure('unreadable', `No process could be started to read it: ${error.message}`));
    const timer = setTimeout(() => {
      const seconds = this.#timeoutMs / 1000;
      resolve(extractionFailure('too_slow', `Reading it takes more than ${seconds} seconds`));
    }, this.#timeoutMs);
    child.once('message', answered).once('exit', ended).once('error', failed);
    child.send(order, () => {
      // What cannot be sent is told by the exit.
    });
    const extraction = await promise;
    clearTimeout(timer);
    child.off('message', answered).off('exit', ended).off('error', failed);
    const isOver = extraction.kind === 'failure' && ['too_slow', 'too_complex'].includes(extraction.reason);
    if (isOver || !child.connected) await this.#end();
    return extraction;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }

  async #end(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.pid === undefined || child.exitCode !== null || child.signalCode !== null)
      return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await exited;
  }
}

function start(): ChildProcess {
  const child = fork(program, {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    serialization: 'advanced',
    execArgv: [`--max-old-space-size=${heapMaxMegabytes}`],
    // Ctrl-C is for the service, which ends this process itself.
    detached: true,
  });
  child.on('error', () => {});
  return child;
}
