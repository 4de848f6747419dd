// What the fake model server can be told to do with a request, and the chat completions it makes.

import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { OPENAI_ENDPOINTS, type OpenaiEndpoint } from '../../src/domain/line.ts';

export interface AnswerBehaviour {
  readonly kind: 'answer';
  readonly text?: string;
  /** How many pieces a streamed answer comes in (default 3). */
  readonly pieces?: number;
  /** Waits before the first byte of the response, headers included. */
  readonly delayMs?: number;
  /** Waits for release() before the first byte. */
  readonly hold?: boolean;
  /** Waits between two pieces of a stream. */
  readonly dripMs?: number;
  /** Stops after this many pieces: `stall` goes silent with the socket open, `cut` destroys it. */
  readonly breakAfter?: number;
  readonly breakWith?: 'stall' | 'cut';
  readonly finishReason?: string | null;
  /** null: no usage at all. */
  readonly usage?: Readonly<Record<string, unknown>> | null;
  readonly reasoning?: string;
  /** Answers with a document although a stream was asked for. */
  readonly document?: boolean;
}

export type Behaviour =
  | AnswerBehaviour
  /** Any status with any headers and body: errors, redirects, HTML, truncated JSON. Strings are sent as they are. */
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string | object;
      readonly hold?: boolean;
    }
  /** These bytes as a stream's body, each piece in a write of its own; `open` leaves it unfinished. */
  | {
      readonly kind: 'raw';
      readonly pieces: readonly (string | Uint8Array)[];
      readonly end?: 'clean' | 'cut' | 'open';
    }
  /** Bytes that are no HTTP. */
  | { readonly kind: 'garbage' }
  /** Reads the request and destroys the socket. */
  | { readonly kind: 'reset' }
  /** Anything else: the function has the response to itself. */
  | { readonly kind: 'custom'; readonly serve: (response: ServerResponse) => Promise<void> | void };

export interface ChatBody {
  readonly model: string;
  readonly messages: readonly { readonly role: string; readonly content: unknown }[];
  readonly stream?: boolean;
  readonly [key: string]: unknown;
}

/** The default answer to these messages. */
export function fakeAnswer(messages: ChatBody['messages']): string {
  const hash = createHash('sha256').update(JSON.stringify(messages)).digest('hex').slice(0, 16);
  return `answer to ${hash}`;
}

const DEFAULT_USAGE = { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 };

export function isOpenaiEndpoint(url: string): url is OpenaiEndpoint {
  return (OPENAI_ENDPOINTS as readonly string[]).includes(url);
}

/** The answer to a request that wants no stream. */
export function openaiDocument(
  behaviour: AnswerBehaviour,
  { url, body }: { readonly url: string; readonly body: ChatBody },
): object {
  const { model, prompt, input } = body;
  if (url === '/v1/chat/completions') return chatDocument(behaviour, body);
  const usage = usageOf(behaviour);
  if (url === '/v1/embeddings') {
    const data = [input].flat().map((_, index) => ({ object: 'embedding', index, embedding: [0.25, -1] }));
    return { object: 'list', data, model, usage };
  }
  const text = behaviour.text ?? fakeAnswer([{ role: 'user', content: prompt }]);
  const choices = [{ index: 0, text, logprobs: null, finish_reason: finishReasonOf(behaviour) }];
  return { id: 'cmpl', object: 'text_completion', created: 0, model, choices, usage };
}

/** The completion as one document. */
function chatDocument(behaviour: AnswerBehaviour, { model, messages }: ChatBody): object {
  const message = {
    role: 'assistant',
    content: behaviour.text ?? fakeAnswer(messages),
    ...reasoningOf(behaviour),
  };
  const choices = [{ index: 0, message, finish_reason: finishReasonOf(behaviour) }];
  return { id: 'chatcmpl', object: 'chat.completion', created: 0, model, choices, usage: usageOf(behaviour) };
}

/** The completion as a stream: each string is one event or, at the end, the last few. */
export function chatEvents(behaviour: AnswerBehaviour, { model, messages }: ChatBody) {
  const base = { id: 'chatcmpl', object: 'chat.completion.chunk', created: 0, model };
  const chunk = (delta: object, finish_reason: string | null = null) =>
    event({ ...base, choices: [{ index: 0, delta, finish_reason }] });
  const usage = usageOf(behaviour);
  const usageEvent = usage === null ? '' : event({ ...base, choices: [], usage });
  const text = behaviour.text ?? fakeAnswer(messages);
  return {
    opening: chunk({ role: 'assistant', content: '', ...reasoningOf(behaviour) }),
    pieces: split(text, behaviour.pieces ?? 3).map((content) => chunk({ content })),
    closing: `${chunk({}, finishReasonOf(behaviour))}${usageEvent}data: [DONE]\n\n`,
  };
}

/** What SGLang ends a stream with that it gives up. */
export function abortEvent({ model }: ChatBody): string {
  const choices = [{ index: 0, delta: {}, finish_reason: 'abort' }];
  return event({ id: 'chatcmpl', object: 'chat.completion.chunk', created: 0, model, choices });
}

function finishReasonOf({ finishReason }: AnswerBehaviour): string | null {
  return finishReason === undefined ? 'stop' : finishReason;
}

function usageOf({ usage }: AnswerBehaviour): object | null {
  return usage === undefined ? DEFAULT_USAGE : usage;
}

function reasoningOf({ reasoning }: AnswerBehaviour): object {
  return reasoning === undefined ? {} : { reasoning_content: reasoning };
}

function event(payload: object): string {
  return `data: ${JSON.stringify(payload)}\n\n`;
}

function split(text: string, pieces: number): string[] {
  const length = Math.max(1, Math.ceil(text.length / pieces));
  const parts: string[] = [];
  for (let start = 0; start < text.length; start += length) parts.push(text.slice(start, start + length));
  return parts;
}
