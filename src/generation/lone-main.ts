// A process for one generation: takes the task from its parent, answers with the outcome, and ends with its parent.

import type { GenerationTask } from '../domain/generation.ts';
import { ModelServerClient } from '../model-server/model-server-client.ts';
import { systemClock } from '../time.ts';
import { runTask } from './run-task.ts';

process.once('disconnect', () => process.exit());
process.once('message', async (task) => {
  const client = new ModelServerClient(systemClock);
  process.send?.(await runTask(task as GenerationTask, client, new AbortController().signal));
});
