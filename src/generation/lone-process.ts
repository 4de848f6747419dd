// Suspects run here: one generation, in a process of its own, so that a line that ends its process ends only this
// one. A second death convicts the line. Deaths that are our own doing, by a cancel, by a deadline or by our own end, are
// none, and neither is a process that cannot be started.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { GenerationOutcome, GenerationTask } from '../domain/generation.ts';
import { cancelledFailure, modelFailure } from '../model-server/failures.ts';
import type { CancelSignal } from '../model-server/model-server-client.ts';

const PROGRAM = fileURLToPath(new URL('./lone-main.ts', import.meta.url));
const DEATHS_MAX = 2;
/** The child has the task's own deadlines; beyond them and this it hangs. In milliseconds. */
const HANG_MARGIN_MS = 30_000;

interface Death {
  readonly kind: 'died';
  /** The signal or the exit code. */
  readonly how: string;
}

interface LoneLog {
  warn(fields: object, message: string): void;
}

/** Runs one generation; a line that ends its process twice ends as `poison`. */
export async function generateAlone(
  task: GenerationTask,
  signal: CancelSignal,
  log: LoneLog,
): Promise<GenerationOutcome> {
  let how = '';
  for (let deaths = 1; deaths <= DEATHS_MAX; deaths += 1) {
    const ending = await runOnce(task, signal);
    if (ending.kind !== 'died') return ending;
    if (signal.aborted) return cancelledFailure();
    how = ending.how;
    log.warn({ endpoint: task.endpointUrl, deaths, how }, 'a suspect line has ended its process');
  }
  const message = `The line ended the process that ran it, ${DEATHS_MAX} times out of ${DEATHS_MAX} (${how}).`;
  return modelFailure('request', message, { code: 'poison' });
}

async function runOnce(task: GenerationTask, signal: CancelSignal): Promise<GenerationOutcome | Death> {
  if (signal.aborted) return cancelledFailure();
  const child = fork(PROGRAM, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const { promise: stopped, resolve: stop } = Promise.withResolvers<GenerationOutcome>();
  const cancel = () => stop(cancelledFailure());
  signal.addEventListener('abort', cancel, { once: true });
  const hung = setTimeout(
    () =>
      stop(modelFailure('ambiguous', 'The process of a suspect line hung.', { code: 'generation_timeout' })),
    task.totalTimeoutMs + HANG_MARGIN_MS,
  );
  try {
    return await Promise.race([answerOf(child, task), stopped]);
  } finally {
    clearTimeout(hung);
    signal.removeEventListener('abort', cancel);
    child.kill('SIGKILL');
  }
}

function answerOf(child: ChildProcess, task: GenerationTask): Promise<GenerationOutcome | Death> {
  return new Promise((resolve) => {
    child.once('message', (outcome) => resolve(outcome as GenerationOutcome));
    child.once('exit', (code, signal) => resolve({ kind: 'died', how: signal ?? `exit code ${code}` }));
    // That is the machine's trouble, not the line's.
    child.once('error', (error) =>
      resolve(modelFailure('ambiguous', `No process could be started for a suspect line: ${error.message}.`)),
    );
    child.send(task, () => {
      // What cannot be sent is told by the exit.
    });
  });
}
