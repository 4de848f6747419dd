// Bodies of commands: those that take none, and those that take a JSON object.

import type { FastifyInstance } from 'fastify';
import { RagmillError } from '../errors.ts';

/** Clients post all sorts of empty bodies to a URL that takes none: whatever comes is passed over. */
export function acceptAnyBody(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', (_request, payload, parsed) => {
    payload.resume();
    parsed(null);
  });
}

/** Whatever type the client says it is of: what cannot be read is told in our words. Empty counts as `{}`. */
export function acceptJsonBody(scope: FastifyInstance, bodyLimit: number): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', { parseAs: 'string', bodyLimit }, (_request, text, parsed) => {
    try {
      parsed(null, text === '' ? {} : JSON.parse(String(text)));
    } catch {
      parsed(new RagmillError('bad_request', 'The body must be a JSON object.'));
    }
  });
}
