// A generation thread: holds connections of its own to the model servers and runs many tasks at a time, all of
// them waiting for the network. Started by GenerationPool.

import { once } from 'node:events';
import { workerData } from 'node:worker_threads';
import { ModelServerClient } from '../model-server/model-server-client.ts';
import { systemClock } from '../time.ts';
import { MessageGroups } from './message-groups.ts';
import { runTask } from './run-task.ts';
import { TaskCancel } from './task-cancel.ts';
import type { WorkerAnswer, WorkerLink, WorkerSetup, WorkerTask } from './worker-protocol.ts';

const { cancelChannel, cancelFlags } = workerData as WorkerSetup;
const client = new ModelServerClient(systemClock);
/** By slot. */
const running: (TaskCancel | null)[] = [];

new BroadcastChannel(cancelChannel).onmessage = ({ data }) => cancelIfAsked(data);

function cancelIfAsked(slot: number): void {
  if (Atomics.load(cancelFlags, slot) === 1) running[slot]?.abort();
}

/** Runs what comes over the port until that is closed. */
export default async function serve({ port }: WorkerLink): Promise<void> {
  const answers = new MessageGroups<WorkerAnswer>(port);
  port.on('message', (tasks: readonly WorkerTask[]) => {
    for (const task of tasks) void run(task, answers);
  });
  port.postMessage([]);
  await once(port, 'close');
}

async function run(
  { slot, task, isWatched }: WorkerTask,
  answers: MessageGroups<WorkerAnswer>,
): Promise<void> {
  const cancel = new TaskCancel();
  running[slot] = cancel;
  cancelIfAsked(slot);
  try {
    const onBegun = isWatched ? () => answers.send({ slot, hasBegun: true }) : undefined;
    answers.send({ slot, outcome: await runTask(task, client, cancel, onBegun) });
  } catch (error) {
    answers.send({ slot, error });
  } finally {
    running[slot] = null;
  }
}
