// Ollama's routes, and how it treats a prompt that is too long: it cuts it, and answers from the rest.

import type { Behaviour, ChatBody } from './fake-chat.ts';
import type { FakeRequest } from './fake-model-server.ts';
import type { KindRoutes, RouteAnswer, RouteRequest } from './kind-routes.ts';

interface LoadedModel {
  readonly name: string;
  /** Missing in older versions. */
  readonly contextTokens?: number;
}

export class FakeOllama implements KindRoutes {
  loaded: readonly LoadedModel[] = [];

  listEntry(id: string): object {
    return { id, object: 'model', created: 0, owned_by: 'library' };
  }

  answer({ path }: RouteRequest): RouteAnswer | undefined {
    if (path === '/api/version') return { body: { version: '0.14.0' } };
    if (path !== '/api/ps') return undefined;
    const models = this.loaded.map(({ name, contextTokens }) => ({
      name,
      model: name,
      size: 1,
      ...(contextTokens === undefined ? {} : { context_length: contextTokens }),
    }));
    return { body: { models } };
  }
}

/** Tokens that Ollama keeps at the beginning of a prompt that it cuts. */
const KEPT_TOKENS = 4;

/**
 * Answers as Ollama with this context does. It counts four bytes as a token, and cuts to the context, or to half of it
 * as newer versions do.
 */
export function ollamaAnswer(contextTokens: number, cutTo: 'context' | 'half' = 'context') {
  return ({ body }: FakeRequest): Behaviour => {
    const all = tokensOf(body.messages);
    const kept = tokensOf(lastThatFit(body.messages, contextTokens));
    const half = contextTokens - Math.floor((contextTokens - KEPT_TOKENS) / 2);
    const cut = cutTo === 'half' ? half : contextTokens;
    const prompt = all <= contextTokens ? all : kept <= contextTokens ? kept : cut;
    const usage = { prompt_tokens: prompt, completion_tokens: 3, total_tokens: prompt + 3 };
    return { kind: 'answer', usage };
  };
}

/** The system messages and the last of the others, however long that one is. */
function lastThatFit(messages: ChatBody['messages'], contextTokens: number): ChatBody['messages'] {
  for (let first = 0; first < messages.length; first += 1) {
    const kept = messages.filter(({ role }, index) => index >= first || role === 'system');
    if (first === messages.length - 1 || tokensOf(kept) <= contextTokens) return kept;
  }
  return messages;
}

function tokensOf(messages: ChatBody['messages']): number {
  return messages.reduce((sum, { content }) => sum + Math.ceil(Buffer.byteLength(String(content)) / 4), 0);
}
