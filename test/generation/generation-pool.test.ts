import type { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import type { GenerationTask } from '../../src/domain/generation.ts';
import { GenerationPool } from '../../src/generation/generation-pool.ts';
import { fakeAnswer } from '../fakes/fake-chat.ts';
import { startFakeModelServer } from '../fakes/fake-model-server.ts';
import { generationTask } from '../fakes/generation-task.ts';
import { recordingLog } from '../fakes/recording-log.ts';
import { until } from '../fakes/until.ts';

async function setup(t: Test, threads = 1) {
  const server = await startFakeModelServer();
  const { log, lines } = recordingLog();
  const pool = new GenerationPool({ threads, log });
  t.teardown(async () => {
    await pool.close();
    await server.close();
  });
  const task = (query: string, changes: Partial<GenerationTask> = {}) =>
    generationTask(server.url, { request: { shape: 'native', query }, ...changes });
  return { server, pool, task, lines };
}

/** Calls `listener` with every thread that this process starts. */
function onWorker(t: Test, listener: (worker: Worker) => unknown): void {
  process.on('worker', listener);
  t.teardown(() => process.off('worker', listener));
}

/** What the fake server answers to a question without passages. */
function answerTo(query: string): string {
  return fakeAnswer([
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: query },
  ]);
}

t.test('answers many questions at a time, each with its own answer', async (t) => {
  const { server, pool, task } = await setup(t, 2);
  server.respond({ kind: 'answer', hold: true });
  const queries = Array.from({ length: 100 }, (_, index) => `question ${index}`);
  const outcomes = queries.map((query) => pool.generate(task(query)));
  await server.until(() => server.inFlight === queries.length);
  server.release();
  for (const [index, outcome] of (await Promise.all(outcomes)).entries()) {
    if (outcome.kind !== 'success' || outcome.answer !== answerTo(`question ${index}`))
      t.fail(`line ${index}`);
  }
});

t.test('sends the passages with the question', async (t) => {
  const { server, pool, task } = await setup(t);
  const passage = { documentId: 'd', chunk: 1, title: null, source: null, text: 'Because.', distance: 0 };
  const outcome = await pool.generate(task('Why?', { passages: [passage] }));
  t.equal(outcome.kind, 'success');
  t.match(
    server.requests[0]?.body.messages[1]?.content,
    /<passage id="d#1">\nBecause\.[\s\S]*Question: Why\?$/,
  );
});

t.test('hands failures over as values', async (t) => {
  const { server, pool, task } = await setup(t);
  server.respond({ kind: 'status', status: 503, headers: { 'retry-after': '3' }, body: 'busy' });
  t.match(await pool.generate(task('Why?')), {
    kind: 'failure',
    class: 'overload',
    code: 'generation_overloaded',
    retryAfterMs: 3_000,
  });
});

t.test('cancels one task and no other, down to the server', async (t) => {
  const { server, pool, task } = await setup(t, 2);
  server.respond({ kind: 'answer', hold: true });
  const controller = new AbortController();
  const cancelled = pool.generate(task('first'), controller.signal);
  await server.until(() => server.inFlight === 1);
  const others = Array.from({ length: 8 }, (_, index) => pool.generate(task(`other ${index}`)));
  await server.until(() => server.inFlight === 9);
  controller.abort();
  t.match(await cancelled, { kind: 'failure', class: 'cancelled' });
  await server.until(() => server.abortedCount === 1);
  t.equal(server.requests[0]?.state, 'aborted');
  server.release();
  for (const outcome of await Promise.all(others)) t.equal(outcome.kind, 'success');
});

t.test('a cancel that overtakes its task is not lost', async (t) => {
  const { server, pool, task } = await setup(t);
  server.respond({ kind: 'answer', hold: true });
  t.match(await pool.generate(task('never'), AbortSignal.abort()), { class: 'cancelled' });
  for (let round = 0; round < 50; round += 1) {
    const controller = new AbortController();
    const outcome = pool.generate(task(`round ${round}`), controller.signal);
    controller.abort();
    t.match(await outcome, { kind: 'failure', class: 'cancelled' });
  }
  const last = pool.generate(task('last'));
  await server.until(() => server.requests.some(({ body }) => body.messages[1]?.content === 'last'));
  await server.until(() => server.inFlight === 1);
  server.release();
  t.match(await last, { kind: 'success', answer: answerTo('last') });
});

t.test('closing ends running tasks as cancelled, whatever the servers do', async (t) => {
  const { server, pool, task, lines } = await setup(t);
  server.respond({ kind: 'answer', breakAfter: 1, breakWith: 'stall' });
  const outcomes = Array.from({ length: 20 }, (_, index) => pool.generate(task(`question ${index}`)));
  await server.until(() => server.inFlight === 20);
  const closing = pool.close();
  for (const outcome of await Promise.all(outcomes))
    t.match(outcome, { kind: 'failure', class: 'cancelled' });
  await closing;
  await server.until(() => server.inFlight === 0);
  t.match(await pool.generate(task('late')), { kind: 'failure', class: 'cancelled' });
  t.equal(pool.close(), closing, 'closing twice is closing once');
  t.same(lines, [], 'and it is nothing to complain about');
});

t.test('can be closed as soon as it is made', async (t) => {
  const { pool } = await setup(t);
  await pool.close();
});

t.test('a thread that dies takes only its own tasks with it, and is replaced', async (t) => {
  const workers: Worker[] = [];
  onWorker(t, (worker) => workers.push(worker));
  const { server, pool, task, lines } = await setup(t, 2);
  server.respond({ kind: 'answer', hold: true });
  const outcomes = Array.from({ length: 10 }, (_, index) => pool.generate(task(`question ${index}`)));
  await server.until(() => server.inFlight === 10);
  await workers[0]?.terminate();
  await server.until(() => server.abortedCount > 0 && server.inFlight + server.abortedCount === 10);
  server.release();
  const all = await Promise.all(outcomes);
  const failures = all.filter((outcome) => outcome.kind === 'failure');
  t.ok(failures.length > 0 && failures.length < all.length);
  for (const failure of failures) t.match(failure, { class: 'ambiguous', code: 'generation_failed' });
  t.equal(lines.length, failures.length, 'each is logged');
  server.respond({ kind: 'answer' });
  const later = Array.from({ length: 10 }, (_, index) => pool.generate(task(`later ${index}`)));
  for (const outcome of await Promise.all(later)) t.equal(outcome.kind, 'success');
  t.equal(workers.length, 3);
});

t.test('ends its tasks when no thread can start, and serves again when one can', async (t) => {
  let areDoomed = true;
  onWorker(t, (worker) => {
    if (areDoomed) void worker.terminate();
  });
  const { pool, task } = await setup(t);
  for (let round = 0; round < 3; round += 1) {
    const outcomes = Array.from({ length: 3 }, (_, index) => pool.generate(task(`question ${index}`)));
    for (const outcome of await Promise.all(outcomes)) {
      t.match(outcome, { kind: 'failure', class: 'ambiguous', code: 'generation_failed' });
    }
  }
  areDoomed = false;
  const outcomes = Array.from({ length: 3 }, (_, index) => pool.generate(task(`question ${index}`)));
  for (const outcome of await Promise.all(outcomes)) t.equal(outcome.kind, 'success');
});

t.test('says when an answer begins to come, and only to whom it concerns', async (t) => {
  const { server, pool, task } = await setup(t);
  const begun: string[] = [];
  const stop = new AbortController();
  const ask = (query: string) => pool.generate(task(query), stop.signal, () => begun.push(query));
  server.respond(({ index }) => {
    return index === 0
      ? { kind: 'answer', hold: true }
      : { kind: 'answer', breakAfter: 1, breakWith: 'stall' };
  });
  const silent = ask('silent');
  await server.until(() => server.inFlight === 1);
  const speaking = ask('speaking');
  await until('the answer to begin', () => begun.length > 0);
  t.strictSame(begun, ['speaking']);
  stop.abort();
  t.match(await Promise.all([silent, speaking]), [{ class: 'cancelled' }, { class: 'cancelled' }]);
  server.respond({ kind: 'answer' });
  t.equal((await pool.generate(task('whole'), undefined, () => begun.push('whole'))).kind, 'success');
  t.strictSame(begun, ['speaking', 'whole'], 'once');
});

t.test(
  'hands on what has a shape of its own, and what the server says of it comes back to the letter',
  async (t) => {
    const { server, pool, task } = await setup(t);
    const exactBody = '{"prompt":"Once","seed":9223372036854775807,"top_p":1.0}';
    const body = { prompt: 'Once', seed: 2 ** 63, top_p: 1 };
    const request = { shape: 'openai', url: '/v1/completions', query: '', body, exactBody } as const;
    const response = '{"choices":[{"text":" upon","p":1.0}],"big":12345678901234567890}';
    server.respond({ kind: 'status', status: 200, body: response });
    t.match(await pool.generate(task('', { request })), { kind: 'success', answer: ' upon', response });
    t.equal(server.requests[0]?.text, exactBody.replace(/}$/, ',"model":"fake-model"}'));
    server.respond({ kind: 'status', status: 422, body: '{"error":{"p":1.0}}' });
    const refusal = { status: 422, body: '{"error":{"p":1.0}}' };
    t.match(await pool.generate(task('', { request })), { kind: 'failure', class: 'request', refusal });
    t.notOk('refusal' in (await pool.generate(task('Why?'))), 'of a question it is only a message');
  },
);
