// Lines that a model server refuses, as too long for instance: they fail by themselves, and neither another line nor the
// server suffers for it.

import t from 'tap';
import type { FakeModelServer } from '../fakes/fake-model-server.ts';
import {
  areAllAnswered,
  askedBy,
  linesAt,
  numbered,
  startPool,
  startServers,
  WINDOW,
} from '../fakes/fake-pool.ts';
import { chromaUrl } from '../fakes/real-chroma.ts';

const CHROMA_URL = await chromaUrl(t);

const TOO_LONG = {
  object: 'error',
  message: "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens.",
  type: 'BadRequestError',
  code: 400,
};

/** Refuses what asks something long, and answers the rest. */
function refusesLong(server: FakeModelServer): void {
  server.respond((request) =>
    askedBy(request).startsWith('long')
      ? { kind: 'status', status: 400, body: TOO_LONG }
      : { kind: 'answer', delayMs: 5 },
  );
}

for (const order of ['in a row', 'in between', 'alone'] as const) {
  t.test(`a hundred lines that are too long, ${order}, fail and nothing else does`, async (t) => {
    const servers = await startServers(t, ['a', 'b']);
    for (const server of [servers.a, servers.b]) refusesLong(server);
    const service = await startPool(t, servers, { CHROMA_URL });
    const long = numbered(100, 'long');
    const short = order === 'alone' ? [] : numbered(200);
    const questions =
      order === 'in between'
        ? short.flatMap((question, index) => [question, ...long.slice(index / 2, (index + 1) / 2)])
        : [...short.slice(0, 100), ...long, ...short.slice(100)];
    const results = await service.run(questions);
    t.equal(results.length, questions.length);
    const failed = results.filter(({ status }) => status !== 'succeeded');
    t.same(new Set(failed.map(({ custom_id: id }) => questions[Number(id?.slice(1)) - 1])), new Set(long));
    t.same(new Set(failed.map(({ error }) => error?.code)), new Set(['generation_rejected']));
    const calls = [...linesAt(servers.a), ...linesAt(servers.b)];
    t.ok(calls.length <= short.length + 2 * long.length, 'each was refused once by each server at most');
    for (const name of ['a', 'b']) {
      t.match(
        await service.endpoint(name),
        { state: 'up', breaker: 'closed' },
        `${name} is as good as before`,
      );
    }
    t.ok(areAllAnswered(await service.run(numbered(20, 'later')), 20));
  });
}

t.test('a server that refuses what its sibling answers fails no line, and is taken out', async (t) => {
  const servers = await startServers(t, ['strict', 'b']);
  servers.strict.respond({ kind: 'status', status: 400, body: { error: { message: 'no such template' } } });
  servers.b.respond({ kind: 'answer', delayMs: 10 });
  const service = await startPool(t, servers, { CHROMA_URL });
  const results = await service.run(numbered(300));
  t.ok(areAllAnswered(results, 300));
  t.ok(results.every(({ generation }) => generation?.endpoint === 'b' && generation.attempts === 1));
  t.match(await service.endpoint('strict'), { breaker: /open/, reason: /refuses/ });
  const refused = linesAt(servers.strict).length;
  t.ok(refused > 0 && refused <= 4 * WINDOW, `${refused} lines were refused`);
});
