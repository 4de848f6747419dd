// The pool in words: what lines wait for, and what is missing.

import type { CallStage } from '../domain/call-stage.ts';
import type { Endpoint } from './endpoint.ts';

/** Named by the settings, or seen there: not just a port that may be empty. */
export function isKnown(endpoint: Endpoint): boolean {
  return endpoint.isExpected || endpoint.phase !== 'absent';
}

const MODEL_SERVER: Readonly<Record<CallStage, string>> = {
  rag: 'a server of the RAG model',
  generation: 'a model server',
};

/**
 * Why no call of this stage can be made of this model (null: any) now, in one line; null when one can. `hint`: what to do
 * when nobody is there.
 */
export function waitingFor(
  all: readonly Endpoint[],
  wanted: { readonly stage: CallStage; readonly model: string | null; readonly hint: string | null },
): string | null {
  const { stage, model, hint } = wanted;
  const endpoints = all.filter(({ roles }) => roles.has(stage));
  const serving = endpoints.filter((endpoint) => endpoint.serves(stage, model));
  if (serving.some((endpoint) => !endpoint.isPaused)) return null;
  if (serving.length > 0) return `${namesOf(serving)} to have room again: full, and asked for patience`;
  const up = endpoints.filter((endpoint) => endpoint.phase === 'up' && !endpoint.isDrained);
  const out = reasons(endpoints.filter((endpoint) => isKnown(endpoint) && !up.includes(endpoint)));
  if (up.length > 0) {
    const missing = model === null ? 'a chat model' : `a server of the model "${model}"`;
    return `${missing} (none at ${namesOf(up)}${out === '' ? '' : `; ${out}`})`;
  }
  const server = MODEL_SERVER[stage];
  if (out !== '') return `${server} to come back (${out})`;
  const nowhere = `${server}: none answered at ${describeUrls(endpoints.map((endpoint) => endpoint.url))}`;
  return hint === null ? nowhere : `${nowhere}; ${hint}`;
}

/** The endpoints that take no lines, each with its reason. */
function reasons(endpoints: readonly Endpoint[]): string {
  return endpoints.map(({ name, reason }) => `${name}: ${reason ?? 'not looked at yet'}`).join('; ');
}

function describeUrls(urls: readonly string[]): string {
  const [first, last] = [urls[0] ?? 'no address', urls.at(-1)];
  return urls.length <= 2 ? urls.join(', ') : `${first} … ${last}`;
}

function namesOf(endpoints: readonly Endpoint[]): string {
  return endpoints.map((endpoint) => endpoint.name).join(', ');
}
