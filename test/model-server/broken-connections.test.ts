// What goes wrong between the client and a model server, over real sockets: each ends as a value of the right class, and
// its connection is let go of.

import t from 'tap';
import type { Behaviour } from '../fakes/fake-chat.ts';
import { bytes, dripping, drippingHead, floodingHead, reset } from '../fakes/fault-answers.ts';
import { startClient } from '../fakes/model-client.ts';
import { startTcpProxy } from '../fakes/tcp-proxy.ts';
import { until } from '../fakes/until.ts';

const START = 'data: {"choices":[{"index":0,"delta":{"content":"Zü"}}]}\n\n';
const WHOLE = 'data: {"choices":[{"index":0,"delta":{"content":"Zürich"},"finish_reason":"stop"}]}\n\n';
const TIMEOUT = { class: 'ambiguous', code: 'generation_timeout' };
const INVALID = { class: 'ambiguous', code: 'generation_invalid' };
const UNREACHABLE = { class: 'hard', code: 'generation_unreachable' };

t.test('a reset before the answer is nobody there, in the answer half an answer', async (t) => {
  const { server, call, failure } = await startClient(t);
  t.match(await failure(reset()), UNREACHABLE);
  t.match(await failure(reset([START])), { ...INVALID, message: /cut off/ });
  server.respond(reset([WHOLE]));
  t.match(await call(), { kind: 'success', answer: 'Zürich' }, 'after the whole answer it changes nothing');
  await server.until(() => server.connections === 0);
});

t.test('a server that accepts and never replies is given up in time', async (t) => {
  const { server, call } = await startClient(t);
  const proxy = await startTcpProxy(t, server.port);
  proxy.onConnect = 'silence';
  const endpointUrl = proxy.url;
  t.match(await call({ endpointUrl, firstTokenTimeoutMs: 50 }), TIMEOUT);
  t.match(await call({ endpointUrl, totalTimeoutMs: 50 }), TIMEOUT);
  await until('both connections to be closed', () => proxy.accepted === 2 && proxy.open === 0);
  t.equal(server.requests.length, 0);
});

t.test('a server that does not even read a large request is given up in time', async (t) => {
  const { server, call } = await startClient(t);
  const proxy = await startTcpProxy(t, server.port);
  proxy.onConnect = 'unread';
  const body = { model: 'fake-model', messages: [{ role: 'user', content: 'x'.repeat(50_000_000) }] };
  t.match(await call({ endpointUrl: proxy.url, body, firstTokenTimeoutMs: 50 }), TIMEOUT);
  t.equal(server.requests.length, 0);
});

t.test(
  'a connection over which nothing passes any more is given up in time, and not used again',
  async (t) => {
    const { server, call } = await startClient(t);
    const proxy = await startTcpProxy(t, server.port);
    const endpointUrl = proxy.url;
    t.match(await call({ endpointUrl }), { kind: 'success' });
    // The client waits for a turn of the loop before it uses a connection again.
    await new Promise(setImmediate);
    t.equal(proxy.open, 1, 'it is kept for the next request');
    proxy.silence();
    t.match(await call({ endpointUrl, firstTokenTimeoutMs: 50 }), TIMEOUT, 'which nobody answers');
    await until('it to be closed', () => proxy.open === 0);
    t.match(await call({ endpointUrl }), { kind: 'success' }, 'the one after that has a new connection');
    t.equal(proxy.accepted, 2);

    server.respond({ kind: 'answer', pieces: 5, breakAfter: 2, breakWith: 'stall' });
    const running = call({ endpointUrl, firstTokenTimeoutMs: 200, stallTimeoutMs: 200 });
    await server.until(() => server.inFlight === 1);
    proxy.silence();
    t.match(await running, { class: 'ambiguous', code: /generation_(stalled|timeout)/ });
    await until('it to be closed', () => proxy.open === 0);
  },
);

t.test('a connection that is reset on arrival is nobody there', async (t) => {
  const { server, call } = await startClient(t);
  const proxy = await startTcpProxy(t, server.port);
  proxy.onConnect = 'reset';
  t.match(await call({ endpointUrl: proxy.url }), UNREACHABLE);
});

t.test('a kept connection that is reset while idle costs no request', async (t) => {
  const { server, call } = await startClient(t);
  const proxy = await startTcpProxy(t, server.port);
  for (let round = 0; round < 3; round += 1) {
    t.match(await call({ endpointUrl: proxy.url }), { kind: 'success' });
    proxy.reset();
    await until('the client to have noticed', () => proxy.open === 0);
  }
});

t.test('however slowly something comes, the deadlines hold', async (t) => {
  const { server, failure } = await startClient(t);
  t.match(await failure(drippingHead(5), { firstTokenTimeoutMs: 100 }), TIMEOUT);
  t.match(await failure(drippingHead(5), { totalTimeoutMs: 100 }), TIMEOUT);
  // Each of these keeps the connection busy, and only the first brings the answer on.
  const token = { ...TIMEOUT, message: /longer than it may/ };
  t.match(await failure(dripping(START, 5), { totalTimeoutMs: 150, stallTimeoutMs: 100 }), token);
  const silence = { ...TIMEOUT, message: /begin/ };
  t.match(await failure(dripping(': still here\n\n', 5), { firstTokenTimeoutMs: 100 }), silence);
  t.match(await failure(dripping('\n', 5), { firstTokenTimeoutMs: 100 }), silence);
  t.match(await failure(dripping(' ', 5), { firstTokenTimeoutMs: 100 }), silence);
  t.match(await failure(dripping('data: x', 5), { firstTokenTimeoutMs: 100 }), silence, 'one endless line');
  t.match(await failure(dripping('{ "id": 1, ', 5), { totalTimeoutMs: 150 }), token, 'an endless document');
  await server.until(() => server.connections === 0);
  t.equal(server.abortedCount, server.requests.length);
});

t.test('a head that never ends is no HTTP', async (t) => {
  const { server, failure } = await startClient(t);
  t.match(await failure(floodingHead()), INVALID);
  await server.until(() => server.connections === 0);
});

t.test('what is wrong with the HTTP of an answer is no exception', async (t) => {
  const { failure } = await startClient(t);
  const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n';
  const cases: readonly (readonly [string, string])[] = [
    ['two lengths', `${head}content-length: 5\r\ncontent-length: 6\r\n\r\nhello`],
    [
      'a length and chunks',
      `${head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
    ],
    ['a length that is none', `${head}content-length: -5\r\n\r\nhello`],
    ['a chunk that is none', `${head}transfer-encoding: chunked\r\n\r\nZZ\r\nhello\r\n`],
    ['a chunk of an impossible size', `${head}transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\nhello`],
    ['a status that is none', 'HTTP/1.1 99999 What\r\n\r\n'],
    ['another version', 'HTTP/9.9 200 OK\r\n\r\n'],
    ['a change of protocol', 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'],
    ['a header with a NUL', `${head}x: \u0000\r\n\r\n`],
  ];
  for (const [name, text] of cases) {
    const outcome = await failure(bytes(text), { totalTimeoutMs: 5_000 });
    t.match(outcome, { class: /ambiguous|hard/, code: /generation_(invalid|unreachable)/ }, name);
  }
});

t.test('bytes that nobody asked for do not reach the next answer', async (t) => {
  const { server, call } = await startClient(t);
  const body = (answer: string) =>
    JSON.stringify({ choices: [{ index: 0, message: { content: answer }, finish_reason: 'stop' }] });
  const whole = (answer: string) =>
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body(answer).length}\r\n\r\n${body(answer)}`;
  server.respond(bytes(`${whole('first')}${whole('never asked for')}`));
  t.match(await call(), { kind: 'success', answer: 'first' });
  const answer: Behaviour = { kind: 'answer', text: 'second' };
  server.respond(answer);
  t.match(await call(), { kind: 'success', answer: 'second' });
});
