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

/**
 * The same for a body that is not ours: nothing where it names its request itself, and nothing where it asks for
 * several sequences, because several builds of SGLang want as many ids then.
 */
export function requestIdFieldsBeside(
  server: ServerKind,
  requestId: string,
  body: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const fields = requestIdFields(server, requestId);
  const isOne = (body.n ?? 1) === 1 && !Array.isArray(body.prompt) && body.input === undefined;
  return isOne && !Object.keys(fields).some((name) => Object.hasOwn(body, name)) ? fields : {};
}

/** What to post to take the request back; null: nothing. */
export function takingBack(server: ServerKind, requestId: string): TakingBack | null {
  return server === 'sglang' ? { path: '/abort_request', body: { rid: requestId } } : null;
}
