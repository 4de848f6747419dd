// A program for one test: starts the embedded Chroma, says where it is, and lives until it is killed.
// Usage: node embedded-parent.ts <data folder>

import pino from 'pino';
import { EmbeddedChroma } from '../../src/chroma/embedded-server.ts';
import { systemClock } from '../../src/time.ts';

const chroma = new EmbeddedChroma({
  dataDir: String(process.argv[2]),
  log: pino({ level: 'silent' }),
  clock: systemClock,
});
const { url } = await chroma.start();
process.stdout.write(`${JSON.stringify({ url, pid: chroma.pid })}\n`);
