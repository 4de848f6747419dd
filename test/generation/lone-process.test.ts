import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { generateAlone } from '../../src/generation/lone-process.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { generationTask } from '../fakes/generation-task.ts';
import { recordingLog } from '../fakes/recording-log.ts';
import { until } from '../fakes/until.ts';

const onLinux = process.platform === 'linux' ? {} : { skip: 'reads /proc' };
const never = new AbortController().signal;

/** The processes of suspects that this process has started. */
function children(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const parent = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1];
        return (
          parent === String(process.pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('lone-main')
        );
      } catch {
        return false;
      }
    });
}

t.test('a suspect that does nothing wrong is answered, and its process goes', onLinux, async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  const outcome = await generateAlone(generationTask(server.url), never, recordingLog().log);
  t.match(outcome, { kind: 'success', promptHash: /^[0-9a-f]{64}$/ });
  await until('its process to be gone', () => children().length === 0);
});

t.test('a process that dies twice convicts the line, and says how', onLinux, async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  server.respond(() => {
    for (const pid of children()) process.kill(pid, 'SIGKILL');
    return { kind: 'answer', hold: true };
  });
  const outcome = await generateAlone(generationTask(server.url), never, recordingLog().log);
  t.match(outcome, { kind: 'failure', class: 'request', code: 'poison', message: /SIGKILL/ });
  t.equal(server.requests.length, 2);
});

t.test('a cancelled suspect is no poison', onLinux, async (t) => {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  server.respond({ kind: 'answer', hold: true });
  const cancel = new AbortController();
  const outcome = generateAlone(generationTask(server.url), cancel.signal, recordingLog().log);
  await server.until(() => server.inFlight === 1);
  cancel.abort();
  t.match(await outcome, { kind: 'failure', class: 'cancelled' });
  await until('its process to be gone', () => children().length === 0);
});

t.test('a process that cannot be started is the trouble of the machine, not of the line', async (t) => {
  const { execPath } = process;
  process.execPath = '/nowhere/node';
  t.teardown(() => {
    process.execPath = execPath;
  });
  const outcome = await generateAlone(generationTask('http://127.0.0.1:9'), never, recordingLog().log);
  t.match(outcome, { kind: 'failure', class: 'ambiguous', message: /could be started/ });
});
