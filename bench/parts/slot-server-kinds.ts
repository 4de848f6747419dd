// What a simulated model server says of itself, in the form of its kind.

import { MODEL } from './slot-model-bytes.ts';
import { BLOCK_TOKENS } from './slot-prompt.ts';

/** `generic` says nothing but which models it has. */
export type SimulatedKind = 'generic' | 'sglang' | 'vllm';

/** What it has to tell. */
export interface SelfReport {
  readonly slots: number;
  readonly kvCapacityTokens: number;
  readonly running: number;
  readonly waiting: number;
}

const CONTEXT_TOKENS = 32_768;

/** The body of the answer; null: the kind has no such route. A path without its query. */
export function answerAbout(kind: SimulatedKind, path: string, report: SelfReport): object | string | null {
  if (path === '/v1/models') return modelList(kind);
  if (kind === 'generic') return null;
  if (path === '/health') return '';
  return kind === 'sglang' ? sglangAnswer(path, report) : vllmAnswer(path, report);
}

function modelList(kind: SimulatedKind): object {
  const about = kind === 'generic' ? {} : { owned_by: kind, max_model_len: CONTEXT_TOKENS };
  return { object: 'list', data: [{ id: MODEL, object: 'model', ...about }] };
}

function sglangAnswer(path: string, report: SelfReport): object | string | null {
  const { slots, kvCapacityTokens, running, waiting } = report;
  switch (path) {
    case '/model_info':
    case '/get_model_info':
      return { model_path: MODEL, is_generation: true };
    case '/server_info':
    case '/get_server_info':
      return {
        context_length: CONTEXT_TOKENS,
        max_running_requests: slots,
        max_total_num_tokens: kvCapacityTokens,
        internal_states: [
          {
            effective_max_running_requests_per_dp: slots,
            memory_usage: { token_capacity: kvCapacityTokens },
          },
        ],
      };
    case '/v1/loads': {
      const limits = { max_running_requests: slots, max_total_num_tokens: kvCapacityTokens };
      return { loads: [{ dp_rank: 0, num_running_reqs: running, num_waiting_reqs: waiting, ...limits }] };
    }
    // Its connection has been closed by then, which is enough here.
    case '/abort_request':
      return '';
    default:
      return null;
  }
}

function vllmAnswer(
  path: string,
  { kvCapacityTokens, running, waiting }: SelfReport,
): object | string | null {
  if (path === '/version') return { version: '0.29.0' };
  if (path !== '/metrics') return null;
  const blocks = Math.floor(kvCapacityTokens / BLOCK_TOKENS);
  return [
    `vllm:num_requests_running{engine="0",model_name="${MODEL}"} ${running}.0`,
    `vllm:num_requests_waiting{engine="0",model_name="${MODEL}"} ${waiting}.0`,
    `vllm:cache_config_info{block_size="${BLOCK_TOKENS}",engine="0",num_gpu_blocks="${blocks}"} 1.0`,
    '',
  ].join('\n');
}
