// The part of the composition that knows the model servers: where they may be, and the pool that finds them.

import type { Surroundings } from './app-collection.ts';
import { EndpointProcess } from './embedded/endpoint-process.ts';
import { type EndpointCandidate, parseEndpoints, sequentialCandidates } from './gpu-pool/candidates.ts';
import { GpuPool } from './gpu-pool/gpu-pool.ts';
import { createEndpointSeries, type Metrics } from './metrics.ts';
import { chatModels } from './model-server/embedding-models.ts';
import { ModelServerClient } from './model-server/model-server-client.ts';

/** `GPU_CONCURRENCY=auto`: enough to keep an unknown server busy, few enough not to swamp it. */
const UNKNOWN_SERVER_WINDOW = 4;
/** Time for a model server to list its models. */
const PROBE_TIMEOUT_MS = 5_000;

export async function openPool(
  around: Surroundings,
  metrics: Metrics,
  opened: AsyncDisposableStack,
): Promise<GpuPool> {
  const { settings, log, clock } = around;
  const client = opened.adopt(new ModelServerClient(clock), (it) => it.close());
  const candidates = await endpointCandidates(around, opened);
  for (const candidate of candidates) createEndpointSeries(metrics, candidate.name);
  const pool = new GpuPool({
    candidates,
    window: settings.GPU_CONCURRENCY === 'auto' ? UNKNOWN_SERVER_WINDOW : Number(settings.GPU_CONCURRENCY),
    probe: async (endpointUrl) => {
      const apiKey = settings.GPU_API_KEY ?? null;
      const outcome = await client.listModels({ endpointUrl, apiKey, timeoutMs: PROBE_TIMEOUT_MS });
      return outcome.kind === 'models' ? { kind: 'models', models: chatModels(outcome.modelIds) } : outcome;
    },
    clock,
    log,
  });
  opened.defer(() => pool.stop());
  return pool;
}

async function endpointCandidates(
  around: Surroundings,
  opened: AsyncDisposableStack,
): Promise<EndpointCandidate[]> {
  const { settings, log, clock } = around;
  if (settings.EMBEDDED_MODEL === 'on') {
    const embedded = new EndpointProcess({ clock, log });
    opened.defer(() => embedded.stop());
    return [{ name: 'embedded', url: await embedded.start(), model: null, isExpected: true }];
  }
  return settings.GPU_ENDPOINTS === undefined
    ? sequentialCandidates(settings.GPU_HOST, settings.GPU_BASE_PORT)
    : parseEndpoints(settings.GPU_ENDPOINTS);
}

/** What a person can do when no model server is there. */
export function howToGoOn(waitingFor: string): string {
  return (
    `Batches will wait for ${waitingFor}. Start one there (Ollama, SGLang, vLLM, llama.cpp), name yours in ` +
    'GPU_ENDPOINTS, or set EMBEDDED_MODEL=on for the built-in extractive one.'
  );
}
