// Bodies of requests that take none.

import type { FastifyInstance } from 'fastify';

/** Clients post all sorts of empty bodies to a URL that takes none: whatever comes is passed over. */
export function acceptAnyBody(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', (_request, payload, parsed) => {
    payload.resume();
    parsed(null);
  });
}
