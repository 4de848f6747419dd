import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';

const PROGRAM = fileURLToPath(new URL('../../src/embedded/main.ts', import.meta.url));
const CONTEXT =
  '<context>\n<passage id="mill#0" title="The mill">\nThe mill was built in 1742 by Jonas Reed. It stands &lt;/passage> still.\n' +
  '</passage>\n</context>';
const QUESTION = { role: 'user', content: `${CONTEXT}\n\nQuestion: Who built the mill?` };
const ANSWER = 'The mill was built in 1742 by Jonas Reed. It stands </passage> still.';

interface Program {
  readonly url: string;
  readonly process: ChildProcess;
  /** Resolves with the exit code and the signal that ended it. */
  readonly ended: Promise<unknown[]>;
}

async function start(t: Test, ...args: string[]): Promise<Program> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const [line] = await once(createInterface(child.stdout), 'line');
  const { listening } = JSON.parse(line);
  return { url: listening, process: child, ended };
}

function post(url: string, body: unknown, path = '/v1/chat/completions'): Promise<Response> {
  return fetch(`${url}${path}`, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

interface Completion {
  readonly object: string;
  readonly choices: readonly {
    readonly message: { readonly content: string };
    readonly finish_reason: string;
  }[];
  readonly usage: { readonly completion_tokens: number };
}

async function complete(url: string, body: object): Promise<Completion> {
  const response = await post(url, body);
  return JSON.parse(await response.text());
}

async function contentFor(url: string, content: string): Promise<string | undefined> {
  const { choices } = await complete(url, { messages: [{ role: 'user', content }] });
  return choices[0]?.message.content;
}

/** The chunks of a stream, which must end with [DONE]. */
async function readStream(t: Test, response: Response) {
  t.match(response.headers.get('content-type'), /^text\/event-stream/);
  const events = (await response.text()).split('\n\n').filter((event) => event !== '');
  t.equal(events.pop(), 'data: [DONE]');
  return events.map((event) => JSON.parse(event.slice('data: '.length)));
}

function streamedText(chunks: { choices: { delta: { content?: string } }[] }[]): string {
  return chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('');
}

t.test('answers over HTTP', async (t) => {
  const { url } = await start(t);

  await t.test('says that it is well and which model it has', async (t) => {
    t.equal((await fetch(`${url}/health`)).status, 200);
    const list = JSON.parse(await (await fetch(`${url}/v1/models`)).text());
    t.match(list, {
      object: 'list',
      data: [{ id: 'ragmill-extractive', object: 'model', owned_by: 'ragmill' }],
    });
    t.ok(list.data[0].max_model_len > 1000);
    t.match(await (await fetch(`${url}/v1/models/ragmill-extractive`)).json(), { id: 'ragmill-extractive' });
  });

  await t.test('answers from the context, whole and streamed alike', async (t) => {
    const whole = await complete(url, { model: 'ragmill-extractive', messages: [QUESTION] });
    t.match(whole, { object: 'chat.completion', model: 'ragmill-extractive' });
    t.match(whole.choices, [
      { index: 0, message: { role: 'assistant', content: ANSWER }, finish_reason: 'stop' },
    ]);
    const promptTokens = Math.ceil(Buffer.byteLength(QUESTION.content) / 4);
    const completionTokens = Math.ceil(Buffer.byteLength(ANSWER) / 4);
    t.same(whole.usage, {
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
      total_tokens: promptTokens + completionTokens,
    });

    const chunks = await readStream(t, await post(url, { messages: [QUESTION], stream: true }));
    t.equal(streamedText(chunks), ANSWER);
    t.ok(chunks.length > 3, 'it comes in parts');
    t.match(chunks[0], { object: 'chat.completion.chunk', choices: [{ delta: { role: 'assistant' } }] });
    t.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
    t.ok(chunks.every((chunk) => chunk.id === chunks[0].id && !('usage' in chunk)));

    const withUsage = { messages: [QUESTION], stream: true, stream_options: { include_usage: true } };
    const counted = await readStream(t, await post(url, withUsage));
    t.equal(streamedText(counted), ANSWER);
    t.same(counted.at(-1).choices, []);
    t.same(counted.at(-1).usage, whole.usage);
    t.ok(counted.slice(0, -1).every(({ usage }) => usage === null));
  });

  await t.test('cuts at max_tokens and says so', async (t) => {
    for (const limit of [{ max_tokens: 5 }, { max_completion_tokens: 5 }]) {
      const { choices, usage } = await complete(url, { messages: [QUESTION], ...limit });
      t.match(choices[0], { message: { content: 'The mill was built' }, finish_reason: 'length' });
      t.ok(usage.completion_tokens <= 5);
      const chunks = await readStream(t, await post(url, { messages: [QUESTION], stream: true, ...limit }));
      t.equal(streamedText(chunks), 'The mill was built');
      t.equal(chunks.at(-1).choices[0].finish_reason, 'length');
    }
    const { choices } = await complete(url, { messages: [QUESTION], max_tokens: 1 });
    t.equal(choices[0]?.message.content, 'The');
  });

  await t.test('reads the context of an earlier message and content in parts', async (t) => {
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: [{ type: 'text', text: CONTEXT }] },
      { role: 'user', content: [{ type: 'text', text: 'Who built the mill?' }] },
    ];
    const { choices } = await complete(url, { messages });
    t.equal(choices[0]?.message.content, ANSWER);
  });

  await t.test('says honestly when it has no context or no answer', async (t) => {
    t.match(await contentFor(url, 'Who built the mill?'), /^No context was given/);
    t.match(
      await contentFor(url, '<context>\n</context>\n\nQuestion: Who built the mill?'),
      /^No context was given/,
    );
    t.equal(
      await contentFor(url, `${CONTEXT}\n\nQuestion: Who won the world cup in 1998?`),
      'The context does not contain the answer.',
    );
  });

  await t.test('refuses what it cannot take, in the words of the OpenAI API', async (t) => {
    const user = { role: 'user', content: 'Who?' };
    const long = { role: 'user', content: `<context>\n<passage id="a#0">\n${'The mill. '.repeat(100_000)}` };
    const refusals: [unknown, number, string | null][] = [
      ['{"messages":', 400, null],
      ['', 400, null],
      ['[]', 400, null],
      [{}, 400, null],
      [{ messages: [] }, 400, null],
      [{ messages: [{ role: 'user', content: 7 }] }, 400, null],
      [{ messages: [{ role: 'system', content: 'Be brief.' }] }, 400, null],
      [{ messages: [user], max_tokens: 0 }, 400, null],
      [{ messages: [user], n: 2 }, 400, null],
      [{ messages: [user], model: 'gpt' }, 404, 'model_not_found'],
      [{ messages: [long] }, 400, 'context_length_exceeded'],
    ];
    for (const [body, status, code] of refusals) {
      const response = await post(url, body);
      const label = JSON.stringify(body).slice(0, 60);
      t.equal(response.status, status, label);
      const { error } = JSON.parse(await response.text());
      t.match(error, { type: 'invalid_request_error', code, message: /\S/ }, label);
    }
    t.match(await (await post(url, { messages: [long] })).text(), /maximum context length is \d+ tokens/);
  });

  await t.test('knows its routes and methods', async (t) => {
    const unknown = await post(url, {}, '/v1/embeddings');
    t.equal(unknown.status, 404);
    t.match(await unknown.json(), { error: { type: 'invalid_request_error' } });
    const wrongMethod = await fetch(`${url}/v1/chat/completions?x=1`);
    t.equal(wrongMethod.status, 405);
    t.equal(wrongMethod.headers.get('allow'), 'POST');
    t.equal((await post(url, {}, '/health')).status, 405);
  });

  await t.test('refuses a body over its limit before reading it', async (t) => {
    const request = httpRequest(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': 64 * 1024 * 1024 },
    });
    request.on('error', () => undefined);
    request.write('{');
    const [response] = await once(request, 'response');
    t.equal(response.statusCode, 413);
    request.destroy();
  });

  await t.test('answers many at once, each its own', async (t) => {
    const numbers = Array.from({ length: 50 }, (_, number) => number);
    const answers = numbers.map((number) => {
      const passage = `<passage id="a#0">
The mill has ${number} wheels.
</passage>`;
      return contentFor(
        url,
        `<context>
${passage}
</context>

Question: How many wheels has the mill?`,
      );
    });
    t.same(
      await Promise.all(answers),
      numbers.map((number) => `The mill has ${number} wheels.`),
    );
  });
});

t.test('ends when its stdin closes, even amid connections', async (t) => {
  const program = await start(t);
  t.equal((await fetch(`${program.url}/health`)).status, 200);
  program.process.stdin?.end();
  t.same(await program.ended, [0, null]);
});

t.test('does not outlive a parent that is killed', async (t) => {
  const source =
    "const { spawn } = require('node:child_process');" +
    `console.log(spawn(process.execPath, [${JSON.stringify(PROGRAM)}], { stdio: ['pipe', 'inherit', 'inherit'] }).pid);`;
  const parent = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  let hasEnded = false;
  t.teardown(() => hasEnded || process.kill(Number(lines[0]), 'SIGKILL'));
  for await (const line of createInterface(parent.stdout)) {
    if (lines.push(line) === 2) break;
  }
  parent.stdout.resume();
  const { listening } = JSON.parse(lines[1] ?? '');
  t.equal((await fetch(`${listening}/health`)).status, 200);
  // The program holds the other end of the pipe: it closes when both are gone.
  const closed = once(parent, 'close');
  parent.kill('SIGKILL');
  await closed;
  hasEnded = true;
  await t.rejects(fetch(`${listening}/health`));
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`ends at ${signal}`, async (t) => {
    const program = await start(t);
    program.process.kill(signal);
    t.same(await program.ended, [0, null]);
  });
}

t.test('listens where it is told, and says why it cannot', async (t) => {
  const first = await start(t);
  const port = new URL(first.url).port;
  for (const [args, reason] of [
    [['--port', port], /EADDRINUSE/],
    [['--port', 'http'], /no port/],
    [['--prot', '1'], /--prot/],
  ] as const) {
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['pipe', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (part) => {
      stderr += part;
    });
    const [code] = await once(child, 'close');
    t.equal(code, 1);
    t.match(stderr, reason);
  }
  first.process.kill('SIGTERM');
  await first.ended;
  const second = await start(t, '--port', port);
  t.equal(new URL(second.url).port, port);
});
