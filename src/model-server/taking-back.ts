// How a request is taken back before its answer is whole. Closing its connection is enough for most servers. Several
// builds of SGLang go on generating then, until max_tokens is used up: it is told, by the id that the request came
// with. SGLang takes an id for all ids that begin with it, and hangs on ids that it has already: ids are
// of one length and never used twice.

import { randomUUID } from 'node:crypto';
import type { ServerKind } from '../domain/server-kind.ts';

export interface TakingBack {
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** A name for one request that none has had before. */
export function newRequestId(): string {
  return `ragmill-${randomUUID()}`;
}

/** What a request carries so that it can be taken back. */
export function requestIdFields(server: ServerKind, requestId: string): Readonly<Record<string, unknown>> {
  return server === 'sglang' ? { rid: requestId } : {};
}

/** What to post to take the request back; null: nothing. */
export function takingBack(server: ServerKind, requestId: string): TakingBack | null {
  return server === 'sglang' ? { path: '/abort_request', body: { rid: requestId } } : null;
}
