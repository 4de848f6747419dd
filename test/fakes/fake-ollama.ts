// Ollama's routes.

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
