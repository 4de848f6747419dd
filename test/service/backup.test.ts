// Backup, restore and damage, with the real processes.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { damageRoot, integrityOf, query } from '../fakes/database-files.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { runCommand } from '../fakes/run-command.ts';
import { questions } from '../fakes/running-service.ts';
import { QUIET, readBatch, readResults, spawnService, upload } from '../fakes/spawned-service.ts';
import { until } from '../fakes/until.ts';

async function modelServer(t: Test) {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  return server;
}

function scratch(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'ragmill-backup-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

t.test('a backup under load is a state that was; restored, its batches go on and finish', async (t) => {
  const server = await modelServer(t);
  server.respond((request) => (request.index < 700 ? { kind: 'answer' } : { kind: 'answer', hold: true }));
  const settings = { GPU_ENDPOINTS: server.url, GPU_CONCURRENCY: '8' };
  const service = spawnService(t, settings);
  const data = { DATA_DIR: join(service.folder, 'data') };
  await service.ready(QUIET);
  const ids = [await upload(service, questions(600)), await upload(service, questions(400))];
  const backups: string[] = [];
  while (backups.length < 3 || (await readBatch(service, ids[0] ?? '')).last_seq < 300) {
    const file = join(scratch(t), 'a.backup');
    const made = await runCommand('backup', [file], data);
    t.match(made, { exitCode: 0, stderr: '', stdout: /a\.backup: 2 batches, \d+ records, \d+ bytes\n$/ });
    backups.push(file);
  }
  for (const file of backups) checkLegal(t, file);
  const last = backups.at(-1) ?? '';
  const recorded = query(last, 'SELECT body FROM records ORDER BY batch_key, seq').map((row) => row.body);
  t.ok(recorded.length > 0, `${backups.length} backups, ${recorded.length} records in the last one`);

  const refused = await runCommand('restore', [last], data);
  t.match(refused, { exitCode: 4, stdout: '', stderr: /Another ragmill process uses/ });
  await service.end('SIGKILL');
  const restored = await runCommand('restore', [last], data);
  t.match(restored, { exitCode: 0, stderr: '', stdout: /restored: 2 batches.*kept as .*before-restore-/ });

  server.respond({ kind: 'answer' });
  const next = spawnService(t, settings, service.folder);
  await next.ready(QUIET);
  for (const [index, id] of ids.entries()) {
    const results = await readResults(next, id);
    t.equal(new Set(results.map((result) => result.line)).size, index === 0 ? 600 : 400);
    t.ok(results.every((result, at) => result.seq === at + 1 && result.status === 'succeeded'));
    t.match(await readBatch(next, id), { status: 'completed' });
  }
  t.same(
    query(join(data.DATA_DIR, 'ragmill.sqlite'), 'SELECT body FROM records').filter(({ body }) =>
      recorded.includes(body ?? null),
    ).length,
    recorded.length,
    'what the backup held stands as it was',
  );
});

/** Counts that sum up and a log without a gap, in every batch. */
function checkLegal(t: Test, file: string): void {
  t.equal(integrityOf(file), 'ok');
  const batches = query(
    file,
    `SELECT b.*, (SELECT count(*) FROM records WHERE batch_key = b.key) AS records,
       (SELECT coalesce(max(seq), 0) FROM records WHERE batch_key = b.key) AS max_seq,
       (SELECT sum(open_lines) FROM chunk_states WHERE batch_key = b.key) AS open_lines FROM batches b`,
  );
  for (const batch of batches) {
    t.equal(batch.records, batch.last_seq);
    t.equal(batch.max_seq, batch.last_seq);
    t.equal(Number(batch.succeeded) + Number(batch.failed), batch.last_seq);
    t.equal(Number(batch.open_lines) + Number(batch.last_seq), batch.total);
  }
}

t.test('the commands say how they are used', async (t) => {
  const data = { DATA_DIR: scratch(t) };
  const usage = { exitCode: 2, stdout: '' };
  for (const values of [[], ['a', 'b'], ['--froce', 'a'], ['']]) {
    t.match(await runCommand('backup', values, data), {
      ...usage,
      stderr: /^Usage: npm run backup -- <file>/,
    });
    t.match(await runCommand('restore', values, data), {
      ...usage,
      stderr: /^Usage: npm run restore -- <file>/,
    });
  }
  t.match(await runCommand('backup', ['a'], { ...data, PORT: 'x' }), { exitCode: 2, stderr: /PORT must be/ });
  t.match(await runCommand('backup', ['a'], data), { exitCode: 1, stderr: /does not exist\. Set DATA_DIR/ });
  t.match(await runCommand('restore', ['/nowhere'], data), { exitCode: 1, stderr: /is no file/ });
  t.same(readdirSync(data.DATA_DIR), []);
});

t.test('a damaged database ends the start with 5, a newer one with 3; a restore mends it', async (t) => {
  const first = spawnService(t, { EMBEDDED_MODEL: 'on' });
  await first.ready(QUIET);
  const id = await upload(first, questions(10));
  const results = await readResults(first, id);
  const data = { DATA_DIR: join(first.folder, 'data') };
  const backup = join(scratch(t), 'a.backup');
  await runCommand('backup', [backup], data);
  t.equal(await first.end('SIGTERM'), 0);

  const path = join(data.DATA_DIR, 'ragmill.sqlite');
  const whole = readFileSync(path);
  const starts: [(bytes: Buffer) => void, number, RegExp][] = [
    [(bytes) => bytes.fill(0x55, 0, 64), 5, /is damaged.*npm run restore/],
    // The schema's version stands there. Source: sqlite.org/fileformat2.html#user_version_number
    [(bytes) => bytes.writeUInt32BE(999, 60), 3, /has schema 999/],
  ];
  for (const [damage, exitCode, words] of starts) {
    const bytes = Buffer.from(whole);
    damage(bytes);
    writeFileSync(path, bytes);
    const service = spawnService(t, { EMBEDDED_MODEL: 'on' }, first.folder);
    await t.rejects(service.ready(QUIET), { message: words });
    t.equal(await service.end('SIGTERM'), exitCode);
    t.ok(readFileSync(path).equals(bytes));
  }
  t.equal((await runCommand('restore', [backup], data)).exitCode, 0);
  const next = spawnService(t, { EMBEDDED_MODEL: 'on' }, first.folder);
  await next.ready(QUIET);
  t.same(await readResults(next, id), results);
});

function isAlive(pid: number | undefined): boolean {
  try {
    return process.kill(pid ?? 0, 0);
  } catch {
    return false;
  }
}

t.test('damage that is met while writing ends the service with 5', async (t) => {
  const server = await modelServer(t);
  server.respond((request) => ({ kind: 'answer', hold: request.index >= 2 }));
  const settings = { GPU_ENDPOINTS: server.url, SHUTDOWN_GRACE_MS: '100' };
  const first = spawnService(t, settings);
  await first.ready(QUIET);
  const id = await upload(first, questions(8));
  await until('two records', async () => (await readBatch(first, id)).last_seq === 2);
  await first.end('SIGTERM');
  damageRoot(join(first.folder, 'data', 'ragmill.sqlite'), 'records_by_seq');
  server.respond({ kind: 'answer' });
  const next = spawnService(t, settings, first.folder);
  await until('its end', () => !isAlive(next.pid));
  t.equal(await next.end('SIGTERM'), 5);
  t.match(next.lastWords(), /is damaged.*npm run restore/);
});
