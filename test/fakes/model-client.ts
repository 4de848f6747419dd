// The client of model servers and a fake one to call, over real sockets.

import type { Test } from 'tap';
import type { ModelFailure } from '../../src/domain/failure.ts';
import {
  type ChatCall,
  type ForwardedCall,
  ModelServerClient,
} from '../../src/model-server/model-server-client.ts';
import { systemClock } from '../../src/time.ts';
import type { Behaviour } from './fake-chat.ts';
import { startFakeModelServer } from './fake-model-server.ts';

const LONG_MS = 120_000;
export const API_KEY = 'sk-secret-0123456789';
export const MESSAGES = [{ role: 'user', content: 'Wo liegt Zürich? 🗺' }];

export async function startClient(t: Pick<Test, 'teardown'>) {
  const server = await startFakeModelServer();
  const client = new ModelServerClient(systemClock);
  t.teardown(async () => {
    await client.close();
    await server.close();
  });
  /** Asks for an answer, with all the time in the world unless told otherwise. */
  const call = (changes: Partial<ChatCall> = {}, signal?: AbortSignal) =>
    client.chatCompletion(
      {
        endpointUrl: server.url,
        apiKey: API_KEY,
        serverKind: 'generic',
        requestId: 'request-1',
        body: { model: 'fake-model', messages: MESSAGES, max_tokens: 9 },
        totalTimeoutMs: LONG_MS,
        firstTokenTimeoutMs: LONG_MS,
        stallTimeoutMs: LONG_MS,
        ...changes,
      },
      signal,
    );
  /** Asks a server that behaves like this, and expects a failure, and that the connection is let go of. */
  const failure = async (behaviour: Behaviour, changes: Partial<ChatCall> = {}): Promise<ModelFailure> => {
    server.respond(behaviour);
    const outcome = await call(changes);
    if (outcome.kind !== 'failure') throw new Error(`no failure but: ${outcome.answer.slice(0, 100)}`);
    await server.until(() => server.inFlight === 0);
    return outcome;
  };
  /** Hands this text on. */
  const forward = (
    bodyJson: string,
    changes: Partial<Omit<ForwardedCall, 'body' | 'bodyJson'>> = {},
    signal?: AbortSignal,
  ) =>
    client.forward(
      {
        endpointUrl: server.url,
        apiKey: API_KEY,
        serverKind: 'generic',
        requestId: 'request-1',
        url: '/v1/chat/completions',
        model: 'fake-model',
        body: JSON.parse(bodyJson),
        bodyJson,
        totalTimeoutMs: LONG_MS,
        ...changes,
      },
      signal,
    );
  return { server, client, call, failure, forward };
}
