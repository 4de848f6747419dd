// A generation thread: holds connections of its own to the model servers and runs many tasks at a time, all of
// them waiting for the network. Started by GenerationPool.

import { workerData } from 'node:worker_threads';
import type { GenerationOutcome } from '../domain/generation.ts';
import { ModelServerClient } from '../model-server/model-server-client.ts';
import { systemClock } from '../time.ts';
import { runTask } from './run-task.ts';
import type { WorkerSetup, WorkerTask } from './worker-protocol.ts';

const { cancelChannel, cancelFlags } = workerData as WorkerSetup;
const client = new ModelServerClient(systemClock);
const running = new Map<number, AbortController>();

new BroadcastChannel(cancelChannel).onmessage = ({ data }) => cancelIfAsked(data);

function cancelIfAsked(slot: number): void {
  if (Atomics.load(cancelFlags, slot) === 1) running.get(slot)?.abort();
}

export default async function generate({ slot, task }: WorkerTask): Promise<GenerationOutcome> {
  const controller = new AbortController();
  running.set(slot, controller);
  cancelIfAsked(slot);
  try {
    return await runTask(task, client, controller.signal);
  } finally {
    running.delete(slot);
  }
}
