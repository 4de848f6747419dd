// Finds out which kind of server answers. Who owns the listed models is a good hint, the route that only that kind
// has confirms it; without a hint every kind's route is asked. A server that has none of them is a generic one.

import type { ServerKind } from '../domain/server-kind.ts';
import type { ListedModel } from './model-list.ts';
import type { Ask } from './plain-answer.ts';
import { SERVER_ADAPTERS } from './server-adapters.ts';

/** Several kinds imitate each other's routes: the first that says yes is believed. */
const IN_ORDER = ['sglang', 'ollama', 'vllm', 'llamacpp'] as const satisfies readonly ServerKind[];

const KIND_OF_OWNER: ReadonlyMap<string, ServerKind> = new Map([
  ['sglang', 'sglang'],
  ['vllm', 'vllm'],
  ['llamacpp', 'llamacpp'],
  // The namespace of the models that Ollama itself offers.
  ['library', 'ollama'],
  ['ollama', 'ollama'],
]);

export async function recogniseServer(listed: readonly ListedModel[], ask: Ask): Promise<ServerKind> {
  const hint = hintOf(listed);
  // Not refuted is enough then: a server that is still loading, or that guards its routes, is what it says.
  if (hint !== null && (await SERVER_ADAPTERS[hint].recognise(ask)) !== 'no') return hint;
  const others = IN_ORDER.filter((kind) => kind !== hint);
  const verdicts = await Promise.all(others.map((kind) => SERVER_ADAPTERS[kind].recognise(ask)));
  return others[verdicts.indexOf('yes')] ?? 'generic';
}

function hintOf(listed: readonly ListedModel[]): ServerKind | null {
  for (const { ownedBy } of listed) {
    const kind = ownedBy === null ? undefined : KIND_OF_OWNER.get(ownedBy);
    if (kind !== undefined) return kind;
  }
  return null;
}
