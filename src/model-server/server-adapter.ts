// What sets one kind of model server apart from the others: the routes on which it speaks of itself.

import type { ServedModel, ServerReport } from '../domain/server-kind.ts';
import type { ListedModel } from './model-list.ts';
import { type Ask, jsonOf, type PlainAnswer } from './plain-answer.ts';
import { isRecord } from './server-words.ts';

/** `unclear`: the route was not refused as unknown, but did not answer either; it may be guarded, or busy. */
export type Recognition = 'yes' | 'no' | 'unclear';

/** What a server says beyond its list of models. */
export interface ServerDetails extends Pick<ServerReport, 'maxRunning' | 'kvCapacityTokens' | 'load'> {
  /** All that the list names, the one to take when nobody names one first. */
  readonly models: readonly ServedModel[];
}

export interface ServerAdapter {
  /** Asks for what only a server of this kind has. */
  recognise(ask: Ask): Promise<Recognition>;
  /** Whatever it asks for in vain stays null. */
  details(listed: readonly ListedModel[], ask: Ask): Promise<ServerDetails>;
}

const GUARDED_OR_BUSY: ReadonlySet<number> = new Set([401, 403, 408, 429]);

/** What the answer on a kind's own route says, given the fields of which such an answer has one. */
export function recognition(answer: PlainAnswer | null, fields: readonly string[]): Recognition {
  if (answer === null || answer.status >= 500 || GUARDED_OR_BUSY.has(answer.status)) return 'unclear';
  const payload = jsonOf(answer);
  return isRecord(payload) && fields.some((field) => payload[field] !== undefined) ? 'yes' : 'no';
}

export function servedModel({ id, contextTokens }: ListedModel): ServedModel {
  return { id, contextTokens };
}
