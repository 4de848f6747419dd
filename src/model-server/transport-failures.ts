// From an error of the connection to its failure class: nobody there, somebody else there, or cut off in mid-answer.

import type { ModelFailure } from '../domain/failure.ts';
import { cancelledFailure, invalidAnswer, modelFailure } from './failures.ts';

/** No connection came about. */
const REFUSED: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
]);
/** A connection broke; of ETIMEDOUT nobody knows when. */
const BROKEN: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_SOCKET',
]);
const CLIENT_CLOSED: ReadonlySet<string> = new Set(['UND_ERR_DESTROYED', 'UND_ERR_CLOSED']);

/** Certificates and protocols that do not fit, and addresses or keys that cannot be sent at all. */
const MISCONFIGURED = /^(?:ERR_TLS|ERR_SSL|ERR_INVALID_URL|CERT_|UND_ERR_INVALID_ARG)|SELF_SIGNED|UNABLE_TO_/;

/** `hasHead`: the status line had already arrived, so the server was alive and the answer is cut. */
export function transportFailure(error: unknown, hasHead: boolean): ModelFailure {
  const code = codeOf(error);
  if (CLIENT_CLOSED.has(code)) return cancelledFailure();
  if (hasHead) return { ...invalidAnswer(`the answer was cut off (${code})`), isBroken: true };
  const isRefused = REFUSED.has(code);
  if (isRefused || BROKEN.has(code)) {
    return modelFailure('hard', `the model server cannot be reached (${code})`, { isRefused });
  }
  if (MISCONFIGURED.test(code)) {
    return modelFailure('misconfigured', `the model server cannot be called (${code})`);
  }
  return invalidAnswer(`the model server did not answer in HTTP (${code})`);
}

/** The code of an error, or of the first of several: a name with two addresses fails once for each. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  if ('code' in error && typeof error.code === 'string') return error.code;
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  return error.name;
}
