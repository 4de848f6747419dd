// F6: the main loop stands still for twice as long as a lease lasts, in the middle of a batch. Afterwards it goes on, and
// every line has one record.

import t from 'tap';
import { goodLines } from './marked-lines.ts';
import { Oracle } from './oracle.ts';
import { chaosSurroundings } from './surroundings.ts';
import { upload } from './upload.ts';

const STALL_MS = 40_000;
const LINES = 600;
const WINDOW = 8;

t.test('the main loop stands still for 40 seconds', async (t) => {
  const { server, open } = await chaosSurroundings(t);
  server.delayMs = 10;
  const oracle = new Oracle(server);
  await using service = open({ GPU_CONCURRENCY: String(WINDOW) });
  await service.start({ blockMs: STALL_MS });
  const known = await upload(service, oracle, goodLines('stall', LINES));
  await server.until(() => server.calls > LINES / 4);
  service.signal('SIGUSR2');
  await service.ask('GET', `/batches/${known.id}/results`);
  await oracle.checkApi(service);
  t.equal(known.status, 'completed');
  t.ok(server.calls <= LINES + WINDOW, `${server.calls} calls for ${LINES} lines`);
});
