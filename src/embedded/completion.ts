// Makes the answer to a chat request and puts it into the shapes of the OpenAI API: one object, or a stream of chunks.

import { randomUUID } from 'node:crypto';
import { type ChatRequest, MODEL_NAME } from './chat-request.ts';
import { extractAnswer, NO_ANSWER_TEXT, NO_CONTEXT_TEXT } from './extract.ts';
import { readPrompt } from './prompt-reader.ts';
import { cutToTokens, estimateTokens } from './tokens.ts';

export interface Completion {
  readonly id: string;
  /** Unix seconds. */
  readonly createdAt: number;
  readonly text: string;
  readonly finishReason: 'stop' | 'length';
  readonly promptTokens: number;
}

/** Words per chunk of a stream. */
const WORDS_PER_CHUNK = /(?:\s*\S+){1,4}\s*/g;

function answerText({ messages }: ChatRequest): string {
  const { question, passages, isCitationAsked } = readPrompt(messages);
  if (passages === null || passages.length === 0) return NO_CONTEXT_TEXT;
  const extraction = extractAnswer(question, passages, { isCiting: isCitationAsked });
  return extraction.kind === 'found' ? extraction.text : NO_ANSWER_TEXT;
}

/** Answers a request; `nowMs` stamps it. */
export function complete(request: ChatRequest, nowMs: number): Completion {
  const whole = answerText(request);
  const text = cutToTokens(whole, request.maxTokens);
  return {
    id: `chatcmpl-${randomUUID()}`,
    createdAt: Math.floor(nowMs / 1000),
    text,
    finishReason: text === whole ? 'stop' : 'length',
    promptTokens: request.promptTokens,
  };
}

function usageOf({ text, promptTokens }: Completion): object {
  const completionTokens = estimateTokens(text);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

/** The body of an answer that is not streamed. */
export function wholeBody(completion: Completion): object {
  const message = { role: 'assistant', content: completion.text, refusal: null };
  return {
    id: completion.id,
    object: 'chat.completion',
    created: completion.createdAt,
    model: MODEL_NAME,
    choices: [{ index: 0, message, logprobs: null, finish_reason: completion.finishReason }],
    usage: usageOf(completion),
  };
}

/** The server-sent events of a streamed answer, `[DONE]` included. */
export function* streamEvents(completion: Completion, withUsage: boolean): Generator<string> {
  const event = (choices: readonly object[], usage: object | null): string => {
    const chunk = {
      id: completion.id,
      object: 'chat.completion.chunk',
      created: completion.createdAt,
      model: MODEL_NAME,
      choices,
      ...(withUsage ? { usage } : {}),
    };
    return `data: ${JSON.stringify(chunk)}\n\n`;
  };
  const choice = (delta: object, finishReason: string | null): object => ({
    index: 0,
    delta,
    logprobs: null,
    finish_reason: finishReason,
  });
  yield event([choice({ role: 'assistant', content: '' }, null)], null);
  for (const [words] of completion.text.matchAll(WORDS_PER_CHUNK)) {
    yield event([choice({ content: words }, null)], null);
  }
  yield event([choice({}, completion.finishReason)], null);
  if (withUsage) yield event([], usageOf(completion));
  yield 'data: [DONE]\n\n';
}
