// vLLM's routes: its version, and the metrics of its engines.

import {
  actualLoad,
  type FakeLoad,
  type KindRoutes,
  type RouteAnswer,
  type RouteRequest,
} from './kind-routes.ts';

export class FakeVllm implements KindRoutes {
  contextTokens: number | null = 16_384;
  blockSize = 16;
  /** Blocks of the KV cache of each engine; null: it is still measuring its memory. */
  kvBlocks: readonly (number | null)[] = [27_000];
  /** Of each engine; empty: the first has what really runs. */
  loads: readonly FakeLoad[] = [];

  listEntry(id: string): object {
    return { id, object: 'model', owned_by: 'vllm', root: id, max_model_len: this.contextTokens };
  }

  answer({ path, chats }: RouteRequest): RouteAnswer | undefined {
    if (path === '/version') return { body: { version: '0.29.0' } };
    if (path !== '/metrics') return undefined;
    const loads = this.loads.length > 0 ? this.loads : [actualLoad(chats)];
    return { body: metricsText(loads, this.kvBlocks, this.blockSize) };
  }
}

function metricsText(
  loads: readonly FakeLoad[],
  kvBlocks: readonly (number | null)[],
  blockSize: number,
): string {
  const gauge = (name: string, read: (load: FakeLoad) => number) => [
    `# HELP vllm:${name} A gauge { with "signs" in its help.`,
    `# TYPE vllm:${name} gauge`,
    ...loads.map((load, engine) => `vllm:${name}{engine="${engine}",model_name="a\\"b,c}"} ${read(load)}.0`),
  ];
  return [
    ...gauge('num_requests_running', ({ running }) => running),
    ...gauge('num_requests_waiting', ({ waiting }) => waiting),
    ...gauge('num_requests_waiting_by_reason', () => 7),
    '# TYPE vllm:cache_config_info gauge',
    ...kvBlocks.map(
      (blocks, engine) =>
        `vllm:cache_config_info{block_size="${blockSize}",cache_dtype="auto",engine="${engine}",num_gpu_blocks="${blocks ?? 'None'}"} 1.0`,
    ),
    '# TYPE vllm:kv_cache_usage_perc gauge',
    'vllm:kv_cache_usage_perc{engine="0"} 0.25',
    '',
  ].join('\n');
}
