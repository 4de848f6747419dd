// The API description, generated from the routes themselves.

import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { createHttpServer } from '../routes/http-server.ts';
import type { Services } from '../routes/services.ts';

/** The text of openapi.yaml. */
export async function describeApi(): Promise<string> {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const app = await createHttpServer({
    // Routes use their services when they are called, and here none is.
    services: {} as Services,
    version,
    log: pino({ level: 'silent' }),
    isLoopback: true,
  });
  await app.ready();
  const document = app.swagger({ yaml: true });
  await app.close();
  return document;
}
