// F6: the main loop, or the whole process, stands still for twice as long as a lease lasts, in the middle of a batch.
// Afterwards it goes on, and every line has one record.

import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { ChaosService } from './chaos-service.ts';
import { BLOCK_SIGNAL } from './kill-order.ts';
import { goodLines } from './marked-lines.ts';
import { Oracle, whole } from './oracle.ts';
import { chaosSurroundings } from './surroundings.ts';
import { upload } from './upload.ts';

const STALL_MS = 40_000;
const LINES = 600;
const WINDOW = 8;

async function stallInTheMiddle(t: Test, stall: (service: ChaosService) => Promise<void>): Promise<void> {
  const { server, open } = await chaosSurroundings(t);
  server.delayMs = 10;
  const oracle = new Oracle(server);
  await using service = open({ GPU_CONCURRENCY: String(WINDOW) });
  await service.start({ blockMs: STALL_MS });
  const known = await upload(service, oracle, goodLines('stall', LINES));
  await server.until(() => server.calls > LINES / 4);
  await stall(service);
  whole(await service.ask('GET', `/batches/${known.id}/results`));
  await oracle.checkApi(service);
  t.equal(known.status, 'completed');
  t.ok(server.calls <= LINES + WINDOW, `${server.calls} calls for ${LINES} lines`);
}

t.test('the main loop stands still for 40 seconds', (t) =>
  stallInTheMiddle(t, async (service) => service.signal(BLOCK_SIGNAL)),
);

t.test('the whole process stands still for 40 seconds', (t) =>
  stallInTheMiddle(t, async (service) => {
    service.signal('SIGSTOP');
    await sleep(STALL_MS);
    service.signal('SIGCONT');
  }),
);
