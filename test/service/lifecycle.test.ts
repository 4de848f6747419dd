// The life of a batch through the real service: pause, resume, first looks, deadlines, retries, deletion.

import t, { type Test } from 'tap';
import { type FakeModelServer, startFakeModelServer } from '../fakes/fake-model-server.ts';
import { realChroma } from '../fakes/real-chroma.ts';
import {
  type BatchAnswer,
  questions,
  type ResultLine,
  type RunningService,
  startService,
} from '../fakes/running-service.ts';
import { until } from '../fakes/until.ts';

const { url: CHROMA_URL } = await realChroma(t);

async function setup(
  t: Test,
  settings: Readonly<Record<string, string>> = {},
): Promise<{ server: FakeModelServer; service: RunningService }> {
  const server = await startFakeModelServer();
  t.teardown(() => server.close());
  const service = await startService(t, { CHROMA_URL, GPU_ENDPOINTS: `gpu-a=${server.url}`, ...settings });
  return { server, service };
}

async function command(service: RunningService, id: string, name: string): Promise<[number, BatchAnswer]> {
  const answer = await service.fetch(`/batches/${id}/${name}`, { method: 'POST' });
  return [answer.status, (await answer.json()) as BatchAnswer];
}

async function retry(service: RunningService, id: string, body: unknown): Promise<[number, unknown]> {
  const headers = { 'content-type': 'application/json' };
  const init = { method: 'POST', headers, body: JSON.stringify(body) };
  const answer = await service.fetch(`/batches/${id}/retry`, init);
  return [answer.status, await answer.json()];
}

const ended = (service: RunningService, id: string) =>
  until('the batch to end', async () =>
    ['completed', 'cancelled', 'expired'].includes((await service.batch(id)).status),
  );

t.test('a pause lets started lines finish and starts no others; a resume goes on', async (t) => {
  const { server, service } = await setup(t);
  server.respond({ kind: 'answer', hold: true });
  const { id } = await service.upload(questions(300));
  await server.until(() => server.inFlight === 4);
  t.match(await command(service, id, 'pause'), [
    200,
    { status: 'paused', pause_reason: { code: 'requested' } },
  ]);
  t.match(await command(service, id, 'pause'), [200, { status: 'paused' }], 'again');
  server.respond({ kind: 'answer' });
  server.release();
  await until('all to be given back', async () => (await service.batch(id)).line_counts.leased === 0);
  const paused = await service.batch(id);
  const asked = server.requests.length;
  t.equal(paused.line_counts.succeeded, asked, 'what was started has finished');
  t.ok(asked < 20, 'only what stood at the gate was started');
  t.match(paused, { status: 'paused', progress: { waiting_for: 'somebody to resume it' } });
  t.match(await command(service, id, 'resume'), [200, { status: 'in_progress', pause_reason: null }]);
  t.equal((await service.allResults(id)).length, 300);
  t.equal(server.requests.length, 300, 'no line was asked twice');
  t.match(await command(service, id, 'resume'), [409, { code: 'batch_finished' }]);
  t.match(await command(service, id, 'pause'), [409, { code: 'batch_finished' }]);
  t.match(await command(service, 'batch_0', 'pause'), [404, { code: 'batch_not_found' }]);
});

t.test('a resume goes on at once, however long a started line takes', async (t) => {
  const { server, service } = await setup(t);
  server.respond({ kind: 'answer', hold: true });
  const { id } = await service.upload(questions(200));
  await server.until(() => server.inFlight === 4);
  await command(service, id, 'pause');
  server.respond({ kind: 'answer' });
  await command(service, id, 'resume');
  // All but one of the lines that were held go on.
  server.release(3);
  await until('all others to be done', async () => (await service.batch(id)).line_counts.succeeded === 199);
  t.equal(server.inFlight, 1);
  server.release();
  await ended(service, id);
  t.equal(server.requests.length, 200, 'no line was asked twice');
});

t.test('pause_after runs exactly so many lines, then the rest', async (t) => {
  const { server, service } = await setup(t);
  for (const pauseAfter of [1, 20, 256, 300]) {
    const before = server.requests.length;
    const { id } = await service.upload(`no json\n${questions(600)}`, `?pause_after=${pauseAfter}`);
    await until('the pause', async () => (await service.batch(id)).status === 'paused');
    t.equal(server.requests.length - before, pauseAfter);
    const batch = await service.batch(id);
    t.match(batch, { line_counts: { succeeded: pauseAfter }, pause_reason: { code: 'pause_after' } });
    await until('nothing to be leased', async () => (await service.batch(id)).line_counts.leased === 0);
    await command(service, id, 'resume');
    t.equal((await service.allResults(id)).length, 601);
    t.equal(server.requests.length - before, 600);
  }
});

t.test('a batch that goes wrong pauses by itself, says why, and can be mended', async (t) => {
  const { server, service } = await setup(t);
  server.respond({ kind: 'status', status: 400, body: 'the prompt is cursed' });
  const { id } = await service.upload(questions(1000));
  await until('the pause', async () => (await service.batch(id)).status === 'paused');
  const batch = await service.get<{ pause_reason: unknown; line_counts: { failed: number } }>(
    `/batches/${id}`,
  );
  t.match(batch.pause_reason, { code: 'max_failures', message: /generation_rejected, .*cursed/ });
  t.ok(batch.line_counts.failed < 300, 'most of the batch was spared');
  server.respond({ kind: 'answer' });
  await command(service, id, 'resume');
  await ended(service, id);
  t.match(await retry(service, id, { code: 'generation_rejected' }), [
    200,
    { status: 'in_progress', run: 2 },
  ]);
  await ended(service, id);
  t.match(await service.batch(id), { status: 'completed', line_counts: { succeeded: 1000, failed: 0 } });
});

t.test('a retry appends its results, by filter, and leaves what succeeded alone', async (t) => {
  const { server, service } = await setup(t);
  const isResin = (content: unknown) => String(content).endsWith('makers resin?');
  server.respond(({ body }) =>
    isResin(body.messages.at(-1)?.content) ? { kind: 'status', status: 400, body: 'no' } : { kind: 'answer' },
  );
  const { id } = await service.upload(`${questions(20)}\n{"custom_id":"bad"}`);
  const before = await (await service.fetch(`/batches/${id}/results`)).text();
  const mend = await (await service.fetch(`/batches/${id}/input?status=failed`)).text();
  t.equal(mend.trim().split('\n').length, 5, 'four failed lines and the bad one');
  t.ok(mend.includes('{"custom_id":"bad"}\n'), 'as it was uploaded');
  const asked = server.requests.length;
  server.respond({ kind: 'answer' });
  t.match((await command(service, id, 'retry'))[1], {
    status: 'in_progress',
    line_counts: { succeeded: 16 },
  });
  await ended(service, id);
  t.equal(server.requests.length - asked, 4, 'only the failed lines ran, and the bad one did not');
  const after = await (await service.fetch(`/batches/${id}/results`)).text();
  t.ok(after.startsWith(before), 'the log only grows');
  const added = after
    .slice(before.length)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const replaced = new Set(
    before
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .filter((result) => result.status === 'failed' && result.custom_id !== 'bad')
      .map((result) => result.seq),
  );
  t.same(new Set(added.map((result) => result.replaces)), replaced);
  t.match(await service.batch(id), { line_counts: { succeeded: 20, failed: 1 } });
  t.match(
    await command(service, id, 'retry'),
    [200, { status: 'completed', run: 2 }],
    'nothing is left to retry',
  );
  t.match(
    await retry(service, id, { custom_ids: ['q1'] }),
    [200, { run: 3 }],
    'a success runs again when it is named',
  );
  await ended(service, id);
  const inOrder = await service.allResults(id, '?order=input');
  t.same(
    inOrder.map((result) => result.line),
    Array.from({ length: 21 }, (_, index) => index + 1),
  );
});

t.test('a retry is refused while the batch runs, and when it is no sensible request', async (t) => {
  const { server, service } = await setup(t);
  server.respond({ kind: 'answer', hold: true });
  const { id } = await service.upload(questions(8));
  t.match(await command(service, id, 'retry'), [409, { code: 'batch_not_finished' }]);
  t.match(await retry(service, id, { lines: [1] }), [
    400,
    { code: 'invalid_option', detail: /"lines" is not known/ },
  ]);
  t.match(await retry(service, id, { status: ['open'] }), [400, { code: 'invalid_option' }]);
  const broken = await service.fetch(`/batches/${id}/retry`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{',
  });
  t.match(await broken.json(), { code: 'bad_request' });
  const asForm = await service.fetch(`/batches/${id}/retry`, {
    method: 'POST',
    body: new URLSearchParams('x'),
  });
  t.match(await asForm.json(), { code: 'bad_request' }, 'as curl -d sends it');
  t.match(await command(service, 'batch_0', 'retry'), [404, { code: 'batch_not_found' }]);
});

t.test('at its deadline a batch keeps what is done, and its open lines expire', async (t) => {
  const { server, service } = await setup(t);
  server.respond(({ index }) => (index < 10 ? { kind: 'answer' } : { kind: 'answer', hold: true }));
  const running = await service.upload(questions(40), '?completion_window=3s');
  const paused = await service.upload(questions(5), '?completion_window=3s');
  await command(service, paused.id, 'pause');
  const results = await service.allResults(running.id);
  t.same(results.map((result) => result.status).sort(), [
    ...Array(30).fill('expired'),
    ...Array(10).fill('succeeded'),
  ]);
  t.match(results.at(-1), { error: { code: 'expired' }, answer: null });
  const batch = await service.get<{ expired_at: number; expires_at: number }>(`/batches/${running.id}`);
  t.match(batch, { status: 'expired', line_counts: { expired: 30, succeeded: 10 } });
  t.ok(batch.expired_at >= batch.expires_at);
  await server.until(() => server.abortedCount === server.requests.length - 10);
  t.pass('running calls were aborted');
  await ended(service, paused.id);
  t.match(await service.batch(paused.id), { status: 'expired', line_counts: { expired: 5 } });
  server.respond({ kind: 'answer' });
  t.match(await command(service, running.id, 'retry'), [200, { status: 'in_progress' }]);
  await ended(service, running.id);
  t.match(await service.batch(running.id), { status: 'completed', line_counts: { succeeded: 40 } });
});

t.test('an ended batch can be deleted, and is known as deleted from then on', async (t) => {
  const { server, service } = await setup(t);
  server.respond({ kind: 'answer', hold: true });
  const { id } = await service.upload(questions(5));
  const remove = () => service.fetch(`/batches/${id}`, { method: 'DELETE' });
  t.match(await (await remove()).json(), { code: 'batch_not_finished', status: 409 });
  server.respond({ kind: 'answer' });
  server.release();
  await ended(service, id);
  t.equal((await remove()).status, 204);
  const paths = ['', '/results', '/lines/1', '/input'];
  for (const path of paths) {
    const answer = await service.fetch(`/batches/${id}${path}`);
    t.match([answer.status, await answer.json()], [410, { code: 'batch_deleted' }], path);
  }
  t.match(await command(service, id, 'cancel'), [410, { code: 'batch_deleted' }]);
  t.equal((await remove()).status, 410);
  t.match(await service.get('/batches'), { data: [] });
});

t.test('one line tells all about itself, down to the prompt that was sent', async (t) => {
  const { server, service } = await setup(t);
  server.respond(({ index }) =>
    index === 0 ? { kind: 'status', status: 500, body: 'oops' } : { kind: 'answer' },
  );
  const openai = JSON.stringify({
    custom_id: 'o',
    method: 'POST',
    url: '/v1/chat/completions',
    body: { messages: [{ role: 'user', content: 'What about keeper lens?' }], top_p: 0.5 },
  }).replace('0.5', '1.0,"seed":9223372036854775807');
  const { id } = await service.upload(`${questions(1)}\n\n${openai}\n{"custom_id":"bad"}`);
  await ended(service, id);
  for (const [line, customId] of [
    [1, 'q1'],
    [3, 'o'],
  ] as const) {
    const view = await service.get<{
      input: string;
      runs: {
        prompt: Record<string, unknown>;
        attempts: unknown[];
        passages: { id: string; text: string }[];
      }[];
    }>(`/batches/${id}/lines/${line}`);
    t.match(view, {
      line,
      status: 'succeeded',
      runs: [{ run: 1, current: true, result: { custom_id: customId } }],
    });
    t.equal(JSON.parse(view.input).custom_id, customId);
    const run = view.runs[0];
    t.equal(run?.passages[0]?.id, 'lens');
    t.match(run?.passages[0]?.text, /polishes the lens/);
    const sent = server.requests.map(({ body }) => {
      const { stream, stream_options, ...rest } = body;
      return rest;
    });
    t.ok(
      sent.some((body) => JSON.stringify(body) === JSON.stringify(run?.prompt)),
      'the prompt is what the server got, to the letter',
    );
  }
  t.ok(
    server.requests.some(({ text }) => text.includes('"top_p":1.0,"seed":9223372036854775807,"model"')),
    'and a line in OpenAI’s shape got there to the digit',
  );
  const views = await Promise.all(
    [1, 3].map((line) =>
      service.get<{ runs: { attempts: { ending: string }[] }[] }>(`/batches/${id}/lines/${line}`),
    ),
  );
  const endings = views.map(({ runs }) => runs[0]?.attempts.map(({ ending }) => ending).join());
  t.same(endings.sort(), ['ambiguous,success', 'success'], 'every attempt is told');
  t.match(await service.get(`/batches/${id}/lines/4`), {
    status: 'failed',
    runs: [{ prompt: null, attempts: [], passages: [] }],
  });
  t.match(await service.get(`/batches/${id}/lines/2`), { code: 'line_not_found' }, 'a blank line is none');
});

t.test('results bring their questions and passages along where they are asked to', async (t) => {
  const { service } = await setup(t);
  const { id } = await service.upload(`${questions(7)}\nno json`, '?top_k=1');
  await ended(service, id);
  const plain = await service.allResults(id);
  const both = await service.allResults(id, '?include=query,passages');
  for (const [index, result] of both.entries()) {
    const { query, passages, ...rest } = result as ResultLine & {
      query: string;
      passages: { text: string }[];
    };
    t.same(rest, plain[index], 'the result itself is the stored one');
    if (result.custom_id === null) {
      t.same([query, passages], [null, []]);
      continue;
    }
    t.match(query, /^What about /);
    t.equal(passages.length, 1);
    t.ok(passages[0]?.text);
  }
  const queries = await service.allResults(id, '?include=query&order=input');
  t.match(queries[0], { line: 1, query: 'What about keeper lens?' });
  t.notOk('passages' in (queries[0] ?? {}));
  t.match(await service.get(`/batches/${id}/results?include=answers`), { code: 'invalid_option' });
  const headers = { range: 'bytes=0-9' };
  t.equal((await service.fetch(`/batches/${id}/results?include=query`, { headers })).status, 200);
  t.equal((await service.fetch(`/batches/${id}/results`, { headers })).status, 206);
});

t.test('token counts that make no sense cost neither the batch nor the list of batches', async (t) => {
  const { server, service } = await setup(t);
  const absurd = Number.MAX_SAFE_INTEGER;
  server.respond({ kind: 'answer', usage: { prompt_tokens: absurd, completion_tokens: absurd } });
  const { id } = await service.upload(questions(5));
  const results = await service.allResults(id);
  t.ok(results.every((result) => result.status === 'succeeded'));
  t.match(results[0], { usage: { prompt_tokens: null, completion_tokens: null } });
  t.match(await service.get('/batches'), { data: [{ id, usage: { total_tokens: 0 } }] });
});
