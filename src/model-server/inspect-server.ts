// Asks a server what it is, which models it serves and what it says of its capacity and load.
//
// 1. Whether it can be used, the list of its models decides alone: everything else may be missing, refused, late,
//    too large or nonsense, and then only stays unknown.
// 2. The list has `timeoutMs`, and all that follows together as much again.

import type { ModelFailure } from '../domain/failure.ts';
import type { ServerKind, ServerReport } from '../domain/server-kind.ts';
import { chatModels } from './embedding-models.ts';
import { cancelledFailure } from './failures.ts';
import type { ModelServerClient } from './model-server-client.ts';
import type { Ask } from './plain-answer.ts';
import { recogniseServer } from './recognise-server.ts';
import { SERVER_ADAPTERS } from './server-adapters.ts';

export interface InspectCall {
  /** Base URL of the model server, without a trailing slash and without /v1. */
  readonly endpointUrl: string;
  readonly apiKey: string | null;
  readonly timeoutMs: number;
  /** null: find out. Otherwise only the routes of that kind are asked. */
  readonly kind: ServerKind | null;
}

/** The largest answer that is read of any route but the list of models. */
const DETAIL_MAX_BYTES = 1024 * 1024;

export async function inspectServer(
  client: ModelServerClient,
  call: InspectCall,
  signal?: AbortSignal,
): Promise<ServerReport | ModelFailure> {
  const list = await client.listModels(call, signal);
  if (list.kind === 'failure') return list;
  const ask = asker(client, call, signal);
  const server = call.kind ?? (await recogniseServer(list.models, ask));
  const { models, ...details } = await SERVER_ADAPTERS[server].details(list.models, ask);
  if (signal?.aborted) return cancelledFailure();
  const chatIds = new Set(chatModels(models.map(({ id }) => id)));
  const chatting = models.filter(({ id }) => chatIds.has(id));
  const otherModels = models.filter(({ id }) => !chatIds.has(id));
  return { kind: 'report', server, models: chatting, otherModels, ...details };
}

function asker(client: ModelServerClient, call: InspectCall, signal: AbortSignal | undefined): Ask {
  const { endpointUrl, apiKey, timeoutMs } = call;
  const endMs = client.clock.monotonicMs() + timeoutMs;
  return async (path) => {
    const leftMs = endMs - client.clock.monotonicMs();
    if (leftMs <= 0) return null;
    return client.ask({ endpointUrl, apiKey, path, timeoutMs: leftMs, maxBytes: DETAIL_MAX_BYTES }, signal);
  };
}
