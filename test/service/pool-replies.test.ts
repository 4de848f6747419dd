// Model servers that reply with nonsense: the lines that got it say so by their error codes, all others are answered, and
// the service goes on as if nothing had been.

import t from 'tap';
import type { Behaviour } from '../fakes/fake-chat.ts';
import {
  areAllAnswered,
  askedBy,
  isTrial,
  numbered,
  shareOf,
  startPool,
  startServers,
} from '../fakes/fake-pool.ts';
import { bytes, dripping, floodingHead, reset } from '../fakes/fault-answers.ts';
import { Flood, gzipBomb, IN_FLIGHT_MAX_BYTES } from '../fakes/flood.ts';
import { chromaUrl } from '../fakes/real-chroma.ts';

const CHROMA_URL = await chromaUrl(t);
const READ_MAX_BYTES = 16 * 1024 * 1024;
const START = 'data: {"choices":[{"index":0,"delta":{"content":"Zü"}}]}\n\n';
const TEXT = 'x'.repeat(64 * 1024);

const ok = (body: string | object): Behaviour => ({ kind: 'status', status: 200, body });

const stream = new Flood({
  piece: `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: TEXT } }] })}\n\n`,
  totalBytes: 100 * 1024 * 1024,
});
const document = new Flood({
  opening: '{"choices":[{"index":0,"message":{"content":"',
  piece: TEXT,
  totalBytes: 100 * 1024 * 1024,
});

/** What a server may reply, and the code of a line that gets nothing else. */
const nonsense: Readonly<Record<string, readonly [Behaviour, string]>> = {
  'truncated JSON': [ok('{"choices":[{"index":0,"message":{"content":"Zü'), 'generation_invalid'],
  'a web page': [ok('<!doctype html><title>Welcome</title>'), 'generation_invalid'],
  'no choices': [ok({ id: 'x', choices: [] }), 'generation_invalid'],
  'no body': [ok(''), 'generation_invalid'],
  'no HTTP': [{ kind: 'garbage' }, 'generation_invalid'],
  'a stream of 100 MB': [stream.behaviour, 'generation_invalid'],
  'a document of 100 MB': [document.behaviour, 'generation_invalid'],
  'a gzip bomb': [gzipBomb(), 'generation_invalid'],
  'a head without end': [floodingHead(), 'generation_invalid'],
  'two lengths': [
    bytes('HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'),
    'generation_invalid',
  ],
  'half an answer': [reset([START]), 'generation_invalid'],
  'comments without end': [dripping(': still here\n\n', 20), 'generation_timeout'],
  'an error for an end': [{ kind: 'answer', finishReason: 'error' }, 'generation_failed'],
  'an error in the middle': [
    { kind: 'raw', pieces: [START, 'data: {"error":{"message":"CUDA error","code":500}}\n\n'] },
    'generation_failed',
  ],
  nothing: [{ kind: 'answer', text: '' }, 'empty_answer'],
};

/** What looks odd, and is an answer all the same. */
const odd: Readonly<Record<string, Behaviour>> = {
  'another model': ok({
    model: 'quite-another',
    choices: [{ index: 0, message: { content: 'Yes.' }, finish_reason: 'stop' }],
  }),
  'counts of NaN': {
    kind: 'raw',
    pieces: [
      'data: {"choices":[{"index":0,"delta":{"content":"Yes."},"finish_reason":"stop"}]}\n\n',
      'data: {"choices":[],"usage":{"prompt_tokens":NaN,"completion_tokens":NaN}}\n\n',
    ],
  },
  'negative counts': { kind: 'answer', usage: { prompt_tokens: -5, completion_tokens: -1 } },
  'huge counts': { kind: 'answer', usage: { prompt_tokens: 1e300, completion_tokens: 2 ** 53 } },
};

t.test('nonsense fails the lines that get it, each with its code, and nothing else', async (t) => {
  const servers = await startServers(t, ['a', 'b']);
  for (const server of [servers.a, servers.b]) {
    server.respond((request) => {
      if (isTrial(request)) return { kind: 'answer' };
      const question = askedBy(request);
      return nonsense[question]?.[0] ?? odd[question] ?? { kind: 'answer', delayMs: 10 };
    });
  }
  const service = await startPool(t, servers, { CHROMA_URL, GENERATION_MAX_ATTEMPTS: '2' });
  const plain = numbered(400);
  const strange = [...Object.keys(nonsense), ...Object.keys(odd)];
  const apart = Math.floor(plain.length / strange.length);
  const questions = plain.flatMap((question, index) =>
    index % apart === 0 ? [question, ...strange.slice(index / apart, index / apart + 1)] : [question],
  );
  const results = await service.run(questions);
  t.equal(results.length, questions.length);

  const codes = new Map<string, string | undefined>();
  for (const { custom_id: id, error } of results) {
    if (error !== null) codes.set(questions[Number(id?.slice(1)) - 1] ?? '', error.code);
  }
  const expected = Object.entries(nonsense).map(([name, [, code]]) => [name, code] as const);
  t.same(codes, new Map(expected));
  const another = results.find(({ line }) => questions[line - 1] === 'another model');
  t.match(another, { answer: 'Yes.', generation: { model: 'quite-another' } });
  for (const name of ['counts of NaN', 'negative counts', 'huge counts']) {
    const result = results.find(({ line }) => questions[line - 1] === name);
    t.match(result, { status: 'succeeded', usage: { prompt_tokens: null, completion_tokens: null } }, name);
  }
  for (const [name, { sentBytes }] of Object.entries({ stream, document })) {
    t.ok(sentBytes > 0 && sentBytes < READ_MAX_BYTES + IN_FLIGHT_MAX_BYTES, `${name}: ${sentBytes} bytes`);
  }

  const later = await service.run(numbered(40, 'later'));
  t.ok(areAllAnswered(later, 40), 'and it goes on');
  t.match(await service.get('/readyz'), { status: 'ready' });
});

t.test('nonsense for everybody takes a server out, and its lines go elsewhere', async (t) => {
  const servers = await startServers(t, ['mad', 'b']);
  servers.b.respond({ kind: 'answer', delayMs: 25 });
  const service = await startPool(t, servers, { CHROMA_URL });
  for (const name of ['a web page', 'truncated JSON', 'no HTTP']) {
    servers.mad.respond(nonsense[name]?.[0] ?? { kind: 'answer' });
    t.ok(areAllAnswered(await service.run(numbered(200, name)), 200), name);
    t.not((await service.endpoint('mad')).breaker, 'closed');
    servers.mad.respond({ kind: 'answer' });
    await service.becomes('mad', 'up');
    t.ok(shareOf('mad', await service.run(numbered(60, 'later'))) > 0.3);
  }
});
