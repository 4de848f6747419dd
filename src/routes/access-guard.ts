// A service on loopback has no password, so a web page the user happens to visit must not be able to drive it:
// only loopback names are served (no DNS rebinding), and other origins may not change anything (no forged posts).

import type { FastifyInstance } from 'fastify';
import { RagmillError } from '../errors.ts';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Whether a host name, with or without a port, means this machine alone, however its address is spelt. */
export function isLoopback(host: string): boolean {
  const isBareIpv6 = host.split(':').length > 2 && !host.startsWith('[');
  const url = `http://${isBareIpv6 ? `[${host}]` : host}`;
  if (!URL.canParse(url)) return false;
  const { hostname } = new URL(url);
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/** Guards a service that listens on loopback. */
export function registerAccessGuard(app: FastifyInstance): void {
  app.addHook('onRequest', async (request) => {
    const host = request.headers.host ?? '';
    if (!isLoopback(host)) {
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
