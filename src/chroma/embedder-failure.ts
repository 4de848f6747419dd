// An embedder that fails as a whole, whatever the texts: which of its failures pass by themselves, and which do not.

import type { ModelFailure } from '../domain/failure.ts';
import { RagmillError } from '../errors.ts';
import type { ChromaFailureClass } from './chroma-client.ts';

/**
 * - unreachable: refused, reset, no such host.
 * - timeout: our own deadline.
 * - server: 5xx, 429, a body that makes no sense, or vectors of another model than before. Another try may work.
 * - rejected: a wrong key, no such model, no such route. Another try will not work.
 */
export type EmbedderFailureClass = Extract<
  ChromaFailureClass,
  'unreachable' | 'timeout' | 'server' | 'rejected'
>;

/** Its code is `embedder_unavailable` where waiting may help, `embedder_failed` where it does not. */
export class EmbedderFailure extends RagmillError {
  readonly class: EmbedderFailureClass;

  constructor(failureClass: EmbedderFailureClass, message: string) {
    super(failureClass === 'rejected' ? 'embedder_failed' : 'embedder_unavailable', message);
    this.class = failureClass;
  }

  get isCurable(): boolean {
    return this.class !== 'rejected';
  }
}

/** What a failed call says of the server. `url`: where it was asked. */
export function embedderFailure(failed: ModelFailure, url: string): EmbedderFailure {
  const failureClass = classOf(failed);
  const advice = failureClass === 'unreachable' ? '. Start it there, or correct EMBEDDING_URL' : '';
  return new EmbedderFailure(failureClass, `The embedder at ${url} failed: ${failed.message}${advice}`);
}

function classOf({ class: failureClass, code }: ModelFailure): EmbedderFailureClass {
  switch (failureClass) {
    case 'hard':
      return 'unreachable';
    case 'overload':
      return 'server';
    case 'misconfigured':
    case 'request':
      return 'rejected';
    case 'ambiguous':
    case 'cancelled':
      return code === 'generation_timeout' ? 'timeout' : 'server';
  }
}
