// A service on loopback has no password, so a web page the user happens to visit must not be able to drive it:
// only loopback names are served (no DNS rebinding), and other origins may not change anything (no forged posts).

import type { FastifyInstance } from 'fastify';
import { RagmillError } from '../errors.ts';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

export function isLoopback(hostname: string): boolean {
  const name = hostname.toLowerCase();
  return (
    name === 'localhost' ||
    name === '::1' ||
    name === '[::1]' ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name)
  );
}

/** Guards a service that listens on loopback. */
export function registerAccessGuard(app: FastifyInstance): void {
  app.addHook('onRequest', async (request) => {
    const host = request.headers.host ?? '';
    if (!isLoopback(hostnameOf(`http://${host}`))) {
      throw new RagmillError(
        'forbidden_host',
        `The host name "${host}" is not served on a loopback address. Use 127.0.0.1 or localhost, or set HOST.`,
      );
    }
    const { origin } = request.headers;
    if (origin === undefined || SAFE_METHODS.has(request.method)) return;
    if (origin !== `http://${host}`) {
      throw new RagmillError('forbidden_origin', `A page from ${origin} may not change this service.`);
    }
  });
}

function hostnameOf(url: string): string {
  return URL.canParse(url) ? new URL(url).hostname : '';
}
