// The embedded Chroma server as a real child process: it comes up, comes back, and never outlives us.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { ChromaConnection } from '../../src/chroma/chroma-client.ts';
import { EmbeddedChroma } from '../../src/chroma/embedded-server.ts';
import { isPortFree } from '../../src/chroma/free-port.ts';
import { systemClock } from '../../src/time.ts';
import { recordingLog } from '../fakes/recording-log.ts';
import { until } from '../fakes/until.ts';

function setup(t: Test) {
  const { log, lines } = recordingLog();
  const chroma = new EmbeddedChroma({ dataDir: t.testdir(), log, clock: systemClock });
  t.teardown(() => chroma.stop());
  return { chroma, lines };
}

async function answers(url: string): Promise<boolean> {
  const beat = await new ChromaConnection({ url }).call((client) => client.heartbeat(), { timeoutMs: 2_000 });
  return beat.kind === 'ok';
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

t.test('serves until it is stopped, and every caller of start gets the same server', async (t) => {
  const { chroma, lines } = setup(t);
  const [first, second] = await Promise.all([chroma.start(), chroma.start()]);
  t.equal(first, second);
  t.ok(await answers(first.url));
  const pid = Number(chroma.pid);
  await Promise.all([chroma.stop(), chroma.stop()]);
  t.notOk(isAlive(pid), 'no process is left');
  t.ok(await isPortFree(Number(new URL(first.url).port)));
  t.notOk(
    lines.some((line) => line.level > 20 && /trychroma|\(\(\(/.test(JSON.stringify(line))),
    'its banner is told at debug level only',
  );
});

t.test('comes back at the same address after a crash, with its data', async (t) => {
  const { chroma } = setup(t);
  const { url } = await chroma.start();
  const connection = new ChromaConnection({ url });
  const created = await connection.call(
    (client) => client.createCollection({ name: 'kept', embeddingFunction: null }),
    { timeoutMs: 10_000 },
  );
  t.equal(created.kind, 'ok');
  const firstPid = Number(chroma.pid);
  process.kill(firstPid, 'SIGKILL');
  await until('another process serves', async () => {
    return chroma.pid !== undefined && chroma.pid !== firstPid && (await answers(url));
  });
  const names = await connection.call((client) => client.listCollections(), { timeoutMs: 10_000 });
  t.equal(names.kind === 'ok' && names.value[0]?.name, 'kept');
});

t.test('stopping while it starts leaves no process', async (t) => {
  const { chroma } = setup(t);
  const starting = chroma.start();
  await until('the process exists', () => chroma.pid !== undefined);
  const pid = Number(chroma.pid);
  await Promise.all([t.rejects(starting, { name: 'AbortError' }), chroma.stop()]);
  t.notOk(isAlive(pid));
});

t.test('a stop before the start is legal, and the start then fails', async (t) => {
  const { chroma } = setup(t);
  await chroma.stop();
  await t.rejects(chroma.start(), { name: 'AbortError' });
  t.equal(chroma.pid, undefined);
});

t.test('the server dies with a parent that is killed', { skip: process.platform === 'win32' }, async (t) => {
  const program = fileURLToPath(new URL('../fakes/embedded-parent.ts', import.meta.url));
  const parent = spawn(process.execPath, [program, t.testdir()], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => parent.kill('SIGKILL'));
  const [line] = await once(createInterface({ input: parent.stdout }), 'line');
  const { url, pid }: { url: string; pid: number } = JSON.parse(line);
  t.teardown(() => isAlive(pid) && process.kill(pid, 'SIGKILL'));
  t.ok(await answers(url));
  parent.kill('SIGKILL');
  await until('the server is gone', () => !isAlive(pid));
  t.ok(await isPortFree(Number(new URL(url).port)));
});
