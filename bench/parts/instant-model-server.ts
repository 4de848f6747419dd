// A model server that answers at once, in a process of its own: the least there can be between a request and its answer,
// so that what a bench measures is the service. Ends with its parent. Tells its port over the channel it was started with.
// Usage: instant-model-server.ts [milliseconds that an answer takes]

import { createServer, type Socket } from 'node:net';

const NEWLINES = Buffer.from('\r\n\r\n');
const delayMs = Number(process.argv[2] ?? 0);

const event = (delta: object, finishReason: string | null) =>
  `data: ${JSON.stringify({
    model: 'instant',
    choices: [{ index: 0, delta, finish_reason: finishReason }],
  })}\n\n`;
const usage = { prompt_tokens: 250, completion_tokens: 24, total_tokens: 274 };
const WORDS = 'The answer stands in the second passage, which says so in as many words as are needed here.';

const answer = response(
  'text/event-stream',
  event({ role: 'assistant', content: WORDS.slice(0, 40) }, null) +
    event({ content: WORDS.slice(40) }, null) +
    event({}, 'stop') +
    `data: ${JSON.stringify({ model: 'instant', choices: [], usage })}\n\ndata: [DONE]\n\n`,
);
const models = response('application/json', JSON.stringify({ object: 'list', data: [{ id: 'instant' }] }));

function response(contentType: string, body: string): Buffer {
  const length = Buffer.byteLength(body);
  return Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: ${contentType}\r\ncontent-length: ${length}\r\n\r\n${body}`,
  );
}

/** One connection: requests come one after the other, each with a content-length or without a body. */
function serve(socket: Socket): void {
  let received = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (piece) => {
    received = received.length === 0 ? piece : Buffer.concat([received, piece]);
    for (;;) {
      const headEnd = received.indexOf(NEWLINES);
      if (headEnd < 0) return;
      const head = received.toString('latin1', 0, headEnd);
      const length = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? 0);
      const end = headEnd + NEWLINES.length + length;
      if (received.length < end) return;
      received = received.subarray(end);
      if (head.startsWith('GET')) socket.write(models);
      else if (delayMs === 0) socket.write(answer);
      else setTimeout(() => socket.write(answer), delayMs);
    }
  });
}

process.once('disconnect', () => process.exit());
const server = createServer(serve);
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.send?.(typeof address === 'object' ? address?.port : null);
});
