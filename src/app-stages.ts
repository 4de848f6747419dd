// What the stages that call model servers are told by the settings.

import type { Settings } from './config.ts';
import type { BatchOptions } from './domain/options.ts';
import type { GpuPool } from './gpu-pool/gpu-pool.ts';
import type { SchedulerOptions } from './scheduler/scheduler.ts';

export function stageSettings(
  settings: Settings,
): Pick<SchedulerOptions, 'apiKey' | 'contextTokens' | 'generation' | 'digest'> {
  const { FIRST_TOKEN_TIMEOUT_MS, GENERATION_STALL_MS, GENERATION_TIMEOUT_MS, RAG_TIMEOUT_MS } = settings;
  return {
    apiKey: settings.GPU_API_KEY ?? null,
    contextTokens: settings.MODEL_CONTEXT_TOKENS ?? null,
    generation: {
      maxAttempts: settings.GENERATION_MAX_ATTEMPTS,
      totalTimeoutMs: GENERATION_TIMEOUT_MS,
      firstTokenTimeoutMs: FIRST_TOKEN_TIMEOUT_MS,
      stallTimeoutMs: GENERATION_STALL_MS,
    },
    digest: {
      limits: {
        maxAttempts: settings.RAG_MAX_ATTEMPTS,
        totalTimeoutMs: RAG_TIMEOUT_MS,
        firstTokenTimeoutMs: Math.min(FIRST_TOKEN_TIMEOUT_MS, RAG_TIMEOUT_MS),
        stallTimeoutMs: GENERATION_STALL_MS,
      },
      model: ragModel(settings),
      maxTokens: settings.RAG_DIGEST_MAX_TOKENS,
      outageMs: settings.RAG_OUTAGE_MS,
    },
  };
}

/** The model of a batch is that of its answers: where others write the digests, they may well not have it. */
function ragModel({ RAG_MODEL, GENERATION_ENDPOINTS }: Settings): SchedulerOptions['digest']['model'] {
  if (RAG_MODEL !== undefined) return { name: RAG_MODEL };
  return GENERATION_ENDPOINTS === undefined ? 'batch' : { name: null };
}

/** What the lines of a batch with these options wait for; null when nothing at the model servers is in their way. */
export function waitingAtPool(pool: GpuPool, settings: Settings, options: BatchOptions): string | null {
  const answering = pool.waitingFor('generation', options.model);
  if (answering !== null || options.ragMode !== 'digest') return answering;
  const model = ragModel(settings);
  return pool.waitingFor('rag', model === 'batch' ? options.model : model.name);
}

/** What the model servers lack, in the words of `/readyz`. */
export function degradedPool(pool: GpuPool, settings: Settings): string[] {
  const { GENERATION_ENDPOINTS, GPU_ENDPOINTS, RAG_MODE } = settings;
  const isDigesting =
    GENERATION_ENDPOINTS !== undefined && (GPU_ENDPOINTS !== undefined || RAG_MODE === 'digest');
  if (!pool.isServing('generation')) return ['no_model_server'];
  return [
    ...(isDigesting && !pool.isServing('rag') ? ['no_rag_model_server'] : []),
    ...(pool.missing > 0 ? ['missing_model_servers'] : []),
  ];
}
