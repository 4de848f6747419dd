// F42: a batch is deleted under a reader. The reader's stream breaks, or was whole; the batch is gone for everybody, and
// so is what it held of the disk.

import { statSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import t from 'tap';
import { until } from '../fakes/until.ts';
import type { ChaosService } from './chaos-service.ts';
import { goodLines } from './marked-lines.ts';
import { Oracle } from './oracle.ts';
import { request } from './requests.ts';
import { chaosSurroundings } from './surroundings.ts';
import { upload } from './upload.ts';

const LINES = 1_500;
/** Free space up to 16 MiB stays in the file, for what comes next. */
const KEPT_BYTES = 16 * 1024 * 1024;
/** So that the log is far larger than what sockets buffer. */
const ANSWER_CHARACTERS = 20_000;

t.test('deleted under a reader that takes its time', async (t) => {
  const { server, open } = await chaosSurroundings(t);
  server.padding = ' '.padEnd(ANSWER_CHARACTERS, 'x');
  const oracle = new Oracle(server);
  await using service = open({ GPU_CONCURRENCY: '32' });
  await service.start();
  const known = await upload(service, oracle, goodLines('gone', LINES));
  await service.ask('GET', `/batches/${known.id}/results`);
  await oracle.checkApi(service);
  t.equal(known.status, 'completed');
  const sizeBefore = statSync(service.databasePath).size;

  const reader = await slowReader(service, `/batches/${known.id}/results`);
  await request(service, oracle, known, { request: 'delete' });
  t.equal(known.status, 'gone');
  const log = known.published.map((body) => `${body}\n`).join('');
  const { text, isWhole } = await reader.readOn();
  t.ok(log.startsWith(text), 'what arrived is the beginning of the log');
  t.equal(isWhole, text.length === log.length, 'a part is never taken for the whole');

  const after = await service.ask('GET', `/batches/${known.id}`);
  t.equal(after?.status, 410);
  t.equal((await service.ask('GET', `/batches/${known.id}/results`))?.status, 410);
  await oracle.checkNoStrangers(service);
  await until(
    'the disk to be given back',
    () => statSync(service.databasePath).size < Math.max(KEPT_BYTES, sizeBefore / 2),
  );
});

/** Takes the first bytes and stops reading until told to go on. */
async function slowReader(service: ChaosService, path: string) {
  const answer = await new Promise<IncomingMessage>((resolve) => get(`${service.url}${path}`, resolve));
  let text = '';
  await new Promise((resolve) => answer.once('readable', resolve));
  const readOn = async () => {
    try {
      for await (const piece of answer) text += String(piece);
    } catch {
      // Broken off: `complete` says so.
    }
    return { text, isWhole: answer.complete };
  };
  return { readOn };
}
