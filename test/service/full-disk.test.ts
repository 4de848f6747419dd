// A disk that fills up while the service runs, and has room again later: nothing is lost, nothing is asked twice,
// and nobody has to do anything but make room.

import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { query } from '../fakes/database-files.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { questions } from '../fakes/running-service.ts';
import { mountSmallDisk, needsSmallDisk } from '../fakes/small-disk.ts';
import { post, QUIET, readBatch, readResults, spawnService, upload } from '../fakes/spawned-service.ts';
import { until } from '../fakes/until.ts';

/** Takes what is left of the disk. */
function fill(file: string): void {
  const filler = openSync(file, 'a');
  for (let size = 1024 * 1024; size >= 1; size /= 2) {
    try {
      while (writeSync(filler, Buffer.alloc(size)) === size);
    } catch {
      // Full for this size; a smaller piece may fit.
    }
  }
  closeSync(filler);
}

/** An upload that needs more room than the log has in pages of its own. */
const large = (count: number) =>
  Array.from({ length: count }, (_, index) => {
    const noise = Array.from({ length: 400 }, () => Math.random().toString(36).slice(2)).join(' ');
    return JSON.stringify({ custom_id: `large${index}`, query: `keeper lens ${noise}` });
  }).join('\n');

const COUNT = 1_500;

t.test('work waits for room on the disk and goes on by itself', needsSmallDisk, async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  server.respond((request) => ({ kind: 'answer', hold: request.index >= 100 }));
  // The embedded Chroma takes some 45 MB of it at once.
  const disk = mountSmallDisk(t, 'size=96m');
  // Without the reserve, so that the disk is full to the last byte.
  const settings = {
    GPU_ENDPOINTS: server.url,
    GPU_CONCURRENCY: '8',
    SHUTDOWN_GRACE_MS: '100',
    MIN_FREE_DISK_BYTES: '0',
  };
  // The log of the service stands on the same disk.
  const folder = join(disk, 'service');
  mkdirSync(folder);
  const service = spawnService(t, settings, folder);
  await service.ready(QUIET);
  const id = await upload(service, questions(COUNT));
  const last = async () => (await readBatch(service, id)).last_seq;
  await until('100 records', async () => (await last()) === 100);
  const before = await readResults(service, id, '?follow=false');

  fill(join(disk, 'filler'));
  server.respond({ kind: 'answer' });
  server.release();
  await until('an upload to be refused', async () => (await post(service, large(500))).status === 507);
  const refused = await post(service, large(500));
  t.equal(refused.headers.get('content-type'), 'application/problem+json');
  t.match(await refused.json(), { code: 'storage_full', status: 507 });
  await server.until(() => server.inFlight === 0);
  t.ok(server.requests.length <= 100 + 2 * 8, 'what cannot be stored is not asked');
  t.equal((await fetch(`${service.url}/livez`)).status, 200);
  t.same((await readResults(service, id, '?follow=false')).slice(0, 100), before);

  rmSync(join(disk, 'filler'));
  const results = await readResults(service, id);
  t.equal(new Set(results.map((result) => result.line)).size, COUNT);
  t.ok(results.every((result) => result.status === 'succeeded'));
  t.equal(server.requests.length, COUNT, 'no line was asked twice');
  t.match(await readBatch(service, id), { status: 'completed' });
  const unfinished = "SELECT id FROM batches WHERE status IN ('uploading', 'discarding')";
  const database = join(folder, 'data', 'ragmill.sqlite');
  await until('nothing to be left of what was refused', () => query(database, unfinished).length === 0);
  await upload(service, large(10));
});

/** Lets the kernel refuse every write of the process beyond this offset of a file, with an error of the disk. */
function limitFiles(pid: number | undefined, limit: string): boolean {
  return spawnSync('prlimit', ['--pid', String(pid), `--fsize=${limit}:`]).status === 0;
}

const needsLimits = limitFiles(process.pid, 'unlimited') ? {} : { skip: 'there is no prlimit here' };

t.test('work waits for a disk that fails, and goes on by itself', needsLimits, async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  server.respond((request) => ({ kind: 'answer', hold: request.index >= 20 }));
  // The kernel's signal would end the process; without it the write fails, as on a failing disk.
  const NODE_OPTIONS = "--import data:text/javascript,process.on('SIGXFSZ',()=>{})";
  const service = spawnService(t, { GPU_ENDPOINTS: server.url, NODE_OPTIONS });
  await service.ready(QUIET);
  const id = await upload(service, questions(200));
  const last = async () => (await readBatch(service, id)).last_seq;
  await until('20 records', async () => (await last()) === 20);

  limitFiles(service.pid, '4096');
  server.respond({ kind: 'answer' });
  server.release();
  const refused = await post(service, questions(1));
  t.match(await refused.json(), { code: 'storage_unavailable', status: 503, detail: /by itself/ });
  await server.until(() => server.inFlight === 0);
  t.equal(await last(), 20);
  t.equal((await fetch(`${service.url}/livez`)).status, 200);

  limitFiles(service.pid, 'unlimited');
  const results = await readResults(service, id);
  t.equal(new Set(results.map((result) => result.line)).size, 200);
  t.ok(results.every((result) => result.status === 'succeeded'));
  t.equal(server.requests.length, 200, 'no line was asked twice');
});
