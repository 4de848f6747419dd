// vLLM. It tells of itself in its metrics, one sample for each of its engines: the server has their sum. How
// many requests it can run at once it does not tell.

import { samplesOf } from './metrics-text.ts';
import type { ListedModel } from './model-list.ts';
import type { Ask } from './plain-answer.ts';
import { reportedCount, reportedKvTokens, sumOfReported } from './reported-numbers.ts';
import {
  type Recognition,
  recognition,
  type ServerAdapter,
  type ServerDetails,
  servedModel,
} from './server-adapter.ts';

/** Where the metrics go through Ray, the colon has become an underscore. */
const RUNNING = namesOf('num_requests_running');
const WAITING = namesOf('num_requests_waiting');
/** V0 put running requests aside into a queue of their own. */
const SWAPPED = namesOf('num_requests_swapped');
const CACHE = namesOf('cache_config_info');
const WANTED: ReadonlySet<string> = new Set(
  [RUNNING, WAITING, SWAPPED, CACHE].flatMap((names) => [...names]),
);

export const vllmServer: ServerAdapter = { recognise, details };

async function recognise(ask: Ask): Promise<Recognition> {
  return recognition(await ask('/version'), ['version']);
}

async function details(listed: readonly ListedModel[], ask: Ask): Promise<ServerDetails> {
  const answer = await ask('/metrics');
  const samples = answer?.status === 200 ? samplesOf(answer.text, WANTED) : [];
  const countOf = (names: ReadonlySet<string>) =>
    sumOfReported(samples.filter(({ name }) => names.has(name)).map(({ value }) => reportedCount(value)));
  const running = countOf(RUNNING);
  const waiting = countOf(WAITING);
  const caches = samples.filter(({ name }) => CACHE.has(name));
  return {
    models: listed.map(servedModel),
    maxRunning: null,
    kvCapacityTokens: sumOfReported(caches.map(({ labels }) => cacheTokens(labels))),
    load:
      running === null || waiting === null ? null : { running, waiting: waiting + (countOf(SWAPPED) ?? 0) },
  };
}

/** An engine that is still profiling its memory says "None". */
function cacheTokens(labels: ReadonlyMap<string, string>): number | null {
  return reportedKvTokens(Number(labels.get('num_gpu_blocks')) * Number(labels.get('block_size')));
}

function namesOf(name: string): ReadonlySet<string> {
  return new Set([`vllm:${name}`, `vllm_${name}`, `ray_vllm_${name}`]);
}
