// A streaming chat completion as a plain program asks for it: undici, and nothing around it. What it sends for a question
// without context is, to the byte, what the service sends, so that a server that draws lengths from requests draws the same.

import { Pool } from 'undici';
import { DEFAULT_SYSTEM_PROMPT } from '../../src/generation/prompt.ts';

export interface ChatCallerOptions {
  readonly url: string;
  readonly model: string;
  /** The most calls at a time; each has a connection of its own. */
  readonly connections: number;
}

interface StreamedChunk {
  readonly choices: readonly { readonly delta?: { readonly content?: string } }[];
}

export class ChatCaller implements AsyncDisposable {
  readonly #pool: Pool;
  readonly #model: string;

  constructor({ url, model, connections }: ChatCallerOptions) {
    this.#pool = new Pool(url, { connections, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });
    this.#model = model;
  }

  /** The answer. Throws when there is none, whatever the reason. */
  async ask(question: string): Promise<string> {
    const messages = [
      { role: 'system', content: DEFAULT_SYSTEM_PROMPT },
      { role: 'user', content: question },
    ];
    const streaming = { stream: true, stream_options: { include_usage: true } };
    const { statusCode, body } = await this.#pool.request({
      path: '/v1/chat/completions',
      method: 'POST',
      headers: { accept: 'text/event-stream, application/json', 'content-type': 'application/json' },
      body: JSON.stringify({ model: this.#model, messages, max_tokens: 1024, temperature: 0, ...streaming }),
    });
    const answer = answerIn(await body.text());
    if (statusCode !== 200 || answer === '') throw new Error(`no answer, status ${statusCode}`);
    return answer;
  }

  /** Breaks off what is running. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.destroy();
  }
}

function answerIn(stream: string): string {
  let answer = '';
  for (const event of stream.split('\n\n')) {
    if (!event.startsWith('data: {')) continue;
    const { choices } = JSON.parse(event.slice('data: '.length)) as StreamedChunk;
    answer += choices[0]?.delta?.content ?? '';
  }
  return answer;
}
