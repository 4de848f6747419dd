// The kinds of model servers and what is particular about each.

import type { ServerKind } from '../domain/server-kind.ts';
import { genericServer } from './generic-server.ts';
import { llamacppServer } from './llamacpp-server.ts';
import { ollamaServer } from './ollama-server.ts';
import type { ServerAdapter } from './server-adapter.ts';
import { sglangServer } from './sglang-server.ts';
import { vllmServer } from './vllm-server.ts';

export const SERVER_ADAPTERS: Readonly<Record<ServerKind, ServerAdapter>> = {
  sglang: sglangServer,
  vllm: vllmServer,
  ollama: ollamaServer,
  llamacpp: llamacppServer,
  generic: genericServer,
};
