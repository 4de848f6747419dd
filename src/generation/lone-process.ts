// Suspects run here: one generation, in a process of its own, so that a line that ends its process ends only this
// one. A second death convicts the line. Deaths that are our own doing, by a cancel or by our own end, are none.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { GenerationOutcome, GenerationTask } from '../domain/generation.ts';
import { cancelledFailure, modelFailure } from '../model-server/failures.ts';

const PROGRAM = fileURLToPath(new URL('./lone-main.ts', import.meta.url));
const DEATHS_MAX = 2;

interface LoneLog {
  warn(fields: object, message: string): void;
}

/** Runs one generation; a line that ends its process twice ends as `poison`. */
export async function generateAlone(
  task: GenerationTask,
  signal: AbortSignal,
  log: LoneLog,
): Promise<GenerationOutcome> {
  for (let deaths = 1; deaths <= DEATHS_MAX; deaths += 1) {
    const outcome = await runOnce(task, signal);
    if (outcome !== 'died') return outcome;
    if (signal.aborted) break;
    log.warn({ endpoint: task.endpointUrl, deaths }, 'a suspect line has ended its process');
  }
  if (signal.aborted) return cancelledFailure();
  const message = `The line ended the process that ran it, ${DEATHS_MAX} times out of ${DEATHS_MAX}.`;
  return modelFailure('request', message, { code: 'poison' });
}

async function runOnce(task: GenerationTask, signal: AbortSignal): Promise<GenerationOutcome | 'died'> {
  if (signal.aborted) return cancelledFailure();
  const child = fork(PROGRAM, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const cancel = () => child.kill('SIGKILL');
  signal.addEventListener('abort', cancel, { once: true });
  try {
    return await answerOf(child, task);
  } finally {
    signal.removeEventListener('abort', cancel);
    child.kill('SIGKILL');
  }
}

/** A child that cannot be started, too, has died. */
function answerOf(child: ChildProcess, task: GenerationTask): Promise<GenerationOutcome | 'died'> {
  return new Promise((resolve) => {
    child.once('message', (outcome) => resolve(outcome as GenerationOutcome));
    child.once('exit', () => resolve('died'));
    child.once('error', () => resolve('died'));
    child.send(task, () => {
      // What cannot be sent is told by the exit.
    });
  });
}
