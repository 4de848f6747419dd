// The part of the composition that knows the model servers: where they may be, and the pool that finds them.

import type { Surroundings } from './app-collection.ts';
import { ALL_ROLES } from './domain/call-stage.ts';
import { EndpointProcess } from './embedded/endpoint-process.ts';
import {
  type EndpointCandidate,
  parseEndpoints,
  sequentialCandidates,
  serverUrl,
} from './gpu-pool/candidates.ts';
import { countGpus } from './gpu-pool/gpu-count.ts';
import { GpuPool, type GpusFound } from './gpu-pool/gpu-pool.ts';
import { GENERATION_LIST, withRoles } from './gpu-pool/roles.ts';
import { createEndpointSeries, type Metrics } from './metrics.ts';
import { inspectServer } from './model-server/inspect-server.ts';
import { ModelServerClient } from './model-server/model-server-client.ts';
import { newRequestId } from './model-server/taking-back.ts';

/** Time for a model server to tell of itself. */
const INSPECT_TIMEOUT_MS = 5_000;
/** Time for the tiny completion that proves that a server is back; Ollama may have to load its model for it. */
const TRIAL_TIMEOUT_MS = 20_000;
const LOADING_TRIAL_TIMEOUT_MS = 120_000;

export async function openPool(
  around: Surroundings,
  metrics: Metrics,
  opened: AsyncDisposableStack,
): Promise<GpuPool> {
  const { settings, log, clock } = around;
  const client = opened.adopt(new ModelServerClient(clock), (it) => it.close());
  const gpus = await countGpusIfAsked(around);
  const candidates = await endpointCandidates(around, gpus.count ?? 0, opened);
  for (const candidate of candidates) createEndpointSeries(metrics, candidate.name);
  const apiKey = settings.GPU_API_KEY ?? null;
  const pool = new GpuPool({
    candidates,
    gpus,
    window: settings.GPU_CONCURRENCY === 'auto' ? null : Number(settings.GPU_CONCURRENCY),
    inspect: ({ url: endpointUrl, lookKind: kind }, signal) =>
      inspectServer(client, { endpointUrl, apiKey, kind, timeoutMs: INSPECT_TIMEOUT_MS }, signal),
    tryOut: ({ url: endpointUrl, kind, models }, signal) => {
      const timeoutMs = kind === 'ollama' ? LOADING_TRIAL_TIMEOUT_MS : TRIAL_TIMEOUT_MS;
      const limits = { totalTimeoutMs: timeoutMs, firstTokenTimeoutMs: timeoutMs, stallTimeoutMs: timeoutMs };
      const names = {
        endpointUrl,
        apiKey,
        serverKind: kind ?? 'generic',
        requestId: newRequestId(),
      } as const;
      const { model, chats } = models.toTry ?? { model: '', chats: true };
      if (!chats) {
        const body = { model, input: 'OK.' };
        const sent = { body, bodyJson: JSON.stringify(body), model, url: '/v1/embeddings' } as const;
        return client.forward({ ...names, ...sent, totalTimeoutMs: timeoutMs }, signal);
      }
      const messages = [{ role: 'user', content: 'Say OK.' }];
      const body = { model, messages, max_tokens: 1, temperature: 0 };
      return client.chatCompletion({ ...names, body, ...limits }, signal);
    },
    clock,
    log,
  });
  opened.defer(() => pool.stop());
  return pool;
}

/** Where the settings name the servers, nobody needs to know how many GPUs there are. */
async function countGpusIfAsked({ settings, clock, log }: Surroundings): Promise<GpusFound> {
  if (settings.EMBEDDED_MODEL === 'on') return { count: null, source: 'EMBEDDED_MODEL' };
  if (settings.GPU_ENDPOINTS !== undefined) return { count: null, source: 'GPU_ENDPOINTS' };
  const { count, source, notes } = await countGpus({ settings, clock, root: '/', searchPath: null });
  log.info({ gpus: count, source, notes }, 'GPUs were counted');
  return { count, source };
}

async function endpointCandidates(
  around: Surroundings,
  gpus: number,
  opened: AsyncDisposableStack,
): Promise<EndpointCandidate[]> {
  const { settings, log, clock } = around;
  if (settings.EMBEDDED_MODEL === 'on') {
    const embedded = new EndpointProcess({ clock, log });
    opened.defer(() => embedded.stop());
    const url = await embedded.start();
    return [{ name: 'embedded', url, model: null, kind: 'generic', isExpected: true, roles: ALL_ROLES }];
  }
  const { GPU_ENDPOINTS, GPU_HOST, GPU_BASE_PORT, GENERATION_ENDPOINTS } = settings;
  const candidates =
    GPU_ENDPOINTS === undefined
      ? sequentialCandidates(GPU_HOST, GPU_BASE_PORT, gpus)
      : parseEndpoints(GPU_ENDPOINTS);
  return GENERATION_ENDPOINTS === undefined
    ? candidates
    : withRoles(candidates, parseEndpoints(GENERATION_ENDPOINTS, GENERATION_LIST));
}

/** Where the usual servers listen by themselves. */
const USUAL_PORTS = { SGLang: 30_000, vLLM: 8_000 } as const;
const USUAL_PORT_TIMEOUT_MS = 1_000;

/** Looks where the usual servers would be, when none is on the ports that are looked at; null: nobody is there either. */
export async function hintAtUsualPorts(
  { settings, clock }: Surroundings,
  signal: AbortSignal,
): Promise<string | null> {
  const { GPU_HOST: host, GPU_ENDPOINTS, GENERATION_ENDPOINTS, EMBEDDED_MODEL } = settings;
  if ((GENERATION_ENDPOINTS ?? GPU_ENDPOINTS) !== undefined || EMBEDDED_MODEL === 'on') return null;
  const client = new ModelServerClient(clock);
  try {
    for (const [name, port] of Object.entries(USUAL_PORTS)) {
      const endpointUrl = serverUrl(host, port);
      // Without the key: whoever is there need not be a model server of ours.
      const call = { endpointUrl, apiKey: null, timeoutMs: USUAL_PORT_TIMEOUT_MS };
      if ((await client.listModels(call, signal)).kind === 'models') {
        return `a server answers at ${endpointUrl}, where ${name} usually is: set GPU_BASE_PORT=${port}`;
      }
    }
    return null;
  } finally {
    await client.close();
  }
}

/** What a person can do when no model server is there. */
export function howToGoOn(waitingFor: string): string {
  return (
    `Batches will wait for ${waitingFor}. Start one there (Ollama, SGLang, vLLM, llama.cpp), name yours in ` +
    'GPU_ENDPOINTS, or set EMBEDDED_MODEL=on for the built-in extractive one.'
  );
}
