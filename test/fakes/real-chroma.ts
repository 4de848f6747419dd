// A real Chroma server for the tests of one file, stopped at the end of it.

import pino from 'pino';
import type { Test } from 'tap';
import { ChromaConnection, type ChromaResult } from '../../src/chroma/chroma-client.ts';
import { EmbeddedChroma } from '../../src/chroma/embedded-server.ts';
import { systemClock } from '../../src/time.ts';

export async function realChroma(t: Pick<Test, 'testdir' | 'teardown'>): Promise<ChromaConnection> {
  return new ChromaConnection({ url: await chromaUrl(t) });
}

/** Where it is, for a service to find it. */
export async function chromaUrl(t: Pick<Test, 'testdir' | 'teardown'>): Promise<string> {
  const server = new EmbeddedChroma({
    dataDir: t.testdir(),
    log: pino({ level: 'silent' }),
    clock: systemClock,
  });
  t.teardown(() => server.stop());
  return (await server.start()).url;
}

/** The value of a call that has to succeed. */
export async function succeeds<T>(result: Promise<ChromaResult<T>>): Promise<T> {
  const settled = await result;
  if (settled.kind === 'failure') throw new Error(`${settled.class}: ${settled.message}`);
  return settled.value;
}
