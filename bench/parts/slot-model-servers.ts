// Simulated model servers on sequential ports, all in this one process. Ends with its parent, which tells it over the
// channel it was started with what is to happen to them. Usage: slot-model-servers.ts <number> <options as JSON>

import { SlotModelServer, type SlotServerOptions } from './slot-model-server.ts';
import type { Answer, Command } from './slot-models.ts';

/** Below the ports that kernels give to outgoing connections: a server that is stopped finds its port free again. */
const PORT_MIN = 20_000;
const PORT_MAX = 30_000;
const TRIES = 20;

const number = Number(process.argv[2]);
const options = JSON.parse(process.argv[3] ?? '') as SlotServerOptions;

process.once('disconnect', () => process.exit());
const { basePort, servers } = await startInARow();
process.on('message', (command: Command) => void obey(command));
process.send?.(basePort);

async function startInARow(): Promise<{ basePort: number; servers: SlotModelServer[] }> {
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const basePort = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN - number));
    const row = Array.from({ length: number }, (_, index) => new SlotModelServer(basePort + index, options));
    const starts = await Promise.allSettled(row.map((server) => server.start()));
    if (starts.every(({ status }) => status === 'fulfilled')) return { basePort, servers: row };
    for (const server of row) server.stop();
  }
  throw new Error(`no ${number} free ports in a row`);
}

async function obey({ id, action, server: index, value }: Command): Promise<void> {
  const server = servers[index];
  if (!server) throw new Error(`there is no server ${index}`);
  switch (action) {
    case 'start':
      await server.start();
      break;
    case 'stop':
      server.stop();
      break;
    case 'slow-down':
      server.slowDown(value ?? 1);
      break;
    case 'refuse-all':
      server.refuseAll(value);
      break;
    case 'reset':
      server.reset();
      break;
    case 'counts':
      break;
    default:
      action satisfies never;
  }
  const answer: Answer = { id, atMs: Date.now(), counts: server.counts };
  process.send?.(answer);
}
