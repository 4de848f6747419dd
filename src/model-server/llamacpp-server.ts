// llama.cpp's server. It works in slots, as many as requests run at once; what it calls its context is the share of
// one slot. It tells which slots are busy, but not who waits for one.

import type { ServerLoad } from '../domain/server-kind.ts';
import type { ListedModel } from './model-list.ts';
import { type Ask, jsonOf } from './plain-answer.ts';
import { reportedContext, reportedLimit } from './reported-numbers.ts';
import { type Recognition, recognition, type ServerAdapter, type ServerDetails } from './server-adapter.ts';
import { isRecord } from './server-words.ts';

export const llamacppServer: ServerAdapter = { recognise, details };

async function recognise(ask: Ask): Promise<Recognition> {
  return recognition(await ask('/props'), ['total_slots', 'default_generation_settings']);
}

async function details(listed: readonly ListedModel[], ask: Ask): Promise<ServerDetails> {
  const [props, slots] = await Promise.all([ask('/props').then(jsonOf), ask('/slots').then(jsonOf)]);
  const { total_slots: total, default_generation_settings: settings } = isRecord(props) ? props : {};
  const context = isRecord(settings) ? reportedContext(settings.n_ctx) : null;
  return {
    models: listed.map(({ id, contextTokens }) => ({ id, contextTokens: context ?? contextTokens })),
    maxRunning: reportedLimit(total),
    kvCapacityTokens: null,
    load: loadOf(slots),
  };
}

/** null where the slots are not shown, which is a setting of the server. */
function loadOf(slots: unknown): ServerLoad | null {
  if (!Array.isArray(slots)) return null;
  const states = slots.filter(isRecord).map(isBusy);
  if (states.length === 0 || states.includes(null)) return null;
  return { running: states.filter((busy) => busy === true).length, waiting: 0 };
}

/** Older versions number the states of a slot; 0 is idle. */
function isBusy({ is_processing: isProcessing, state }: Readonly<Record<string, unknown>>): boolean | null {
  if (typeof isProcessing === 'boolean') return isProcessing;
  return typeof state === 'number' ? state !== 0 : null;
}
