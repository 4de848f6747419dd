// Ollama. Its list names the models that are installed; those that are loaded answer at once, and only of them the
// context length is known: it is set when a model is loaded. It says nothing of its load or of how many requests it
// runs at once.

import type { ServedModel } from '../domain/server-kind.ts';
import type { ListedModel } from './model-list.ts';
import { withTag } from './ollama-names.ts';
import { type Ask, jsonOf } from './plain-answer.ts';
import { reportedContext } from './reported-numbers.ts';
import { type Recognition, recognition, type ServerAdapter, type ServerDetails } from './server-adapter.ts';
import { isRecord } from './server-words.ts';

export const ollamaServer: ServerAdapter = { recognise, details };

async function recognise(ask: Ask): Promise<Recognition> {
  return recognition(await ask('/api/version'), ['version']);
}

async function details(listed: readonly ListedModel[], ask: Ask): Promise<ServerDetails> {
  const loaded = loadedModels(jsonOf(await ask('/api/ps')));
  const models = listed.map(({ id, contextTokens }) => ({
    id,
    contextTokens: loaded.get(withTag(id)) ?? contextTokens,
  }));
  return { models: loadedFirst(models, loaded), maxRunning: null, kvCapacityTokens: null, load: null };
}

/** The loaded models' names and context lengths; older versions do not tell the lengths. */
function loadedModels(payload: unknown): ReadonlyMap<string, number | null> {
  const loaded = new Map<string, number | null>();
  const models = isRecord(payload) && Array.isArray(payload.models) ? payload.models : [];
  for (const model of models.filter(isRecord)) {
    const name = model.model ?? model.name;
    if (typeof name === 'string') loaded.set(withTag(name), reportedContext(model.context_length));
  }
  return loaded;
}

function loadedFirst(models: readonly ServedModel[], loaded: ReadonlyMap<string, unknown>): ServedModel[] {
  const places = new Map([...loaded.keys()].map((name, place) => [name, place]));
  const placeOf = ({ id }: ServedModel) => places.get(withTag(id)) ?? places.size;
  return models.toSorted((a, b) => placeOf(a) - placeOf(b));
}
