// Checks the body of a chat request. What is wrong comes back as a value in the words of the OpenAI API.

import type { ChatMessage } from './prompt-reader.ts';
import { CONTEXT_LENGTH_TOKENS, estimateTokens } from './tokens.ts';

/** The only model there is. */
export const MODEL_NAME = 'ragmill-extractive';

export interface ChatRequest {
  readonly kind: 'valid';
  readonly messages: readonly ChatMessage[];
  readonly promptTokens: number;
  readonly maxTokens: number;
  readonly delivery: 'whole' | 'stream' | 'stream_with_usage';
}

/** An error envelope of the OpenAI API, with its HTTP status. */
export interface ApiProblem {
  readonly kind: 'problem';
  readonly status: number;
  readonly message: string;
  readonly code: string | null;
  readonly param: string | null;
}

type JsonObject = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A problem with the request itself, status 400. */
function badRequest(message: string, param: string | null, code: string | null = null): ApiProblem {
  return { kind: 'problem', status: 400, message, code, param };
}

/** The text of a message: a string, or the text parts of a list; null when it is neither. */
function contentText(content: unknown): string | null {
  if (content === null || content === undefined) return '';
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return null;
  const parts: readonly unknown[] = content;
  const texts = parts.map((part) => (isObject(part) && typeof part.text === 'string' ? part.text : ''));
  return texts.join('\n');
}

function readMessages(value: unknown): readonly ChatMessage[] | ApiProblem {
  if (!Array.isArray(value) || value.length === 0) {
    return badRequest("'messages' must be a non-empty list.", 'messages');
  }
  const items: readonly unknown[] = value;
  const messages: ChatMessage[] = [];
  for (const [index, item] of items.entries()) {
    const text = isObject(item) ? contentText(item.content) : null;
    if (!isObject(item) || typeof item.role !== 'string' || text === null) {
      return badRequest(`'messages[${index}]' needs a 'role' and a 'content' of text.`, 'messages');
    }
    messages.push({ role: item.role, text });
  }
  if (!messages.some(({ role }) => role === 'user')) {
    return badRequest("'messages' has no message of the role 'user'.", 'messages');
  }
  return messages;
}

function readMaxTokens(body: JsonObject): number | ApiProblem {
  for (const param of ['max_completion_tokens', 'max_tokens']) {
    const value = body[param];
    if (value === undefined || value === null) continue;
    if (typeof value === 'number' && Number.isInteger(value) && value >= 1) return value;
    return badRequest(`'${param}' must be a whole number of at least 1.`, param);
  }
  return CONTEXT_LENGTH_TOKENS;
}

function readDelivery({ stream, stream_options: options }: JsonObject): ChatRequest['delivery'] {
  if (stream !== true) return 'whole';
  return isObject(options) && options.include_usage === true ? 'stream_with_usage' : 'stream';
}

/** Parses the JSON body of POST /v1/chat/completions. */
export function readChatRequest(body: unknown): ChatRequest | ApiProblem {
  if (!isObject(body)) return badRequest('The body must be a JSON object.', null);
  const model = body.model ?? MODEL_NAME;
  if (model !== MODEL_NAME) {
    const message = `The model '${String(model).slice(0, 100)}' does not exist; there is only '${MODEL_NAME}'.`;
    return { kind: 'problem', status: 404, message, code: 'model_not_found', param: 'model' };
  }
  if (body.n !== undefined && body.n !== null && body.n !== 1) return badRequest("'n' must be 1.", 'n');
  const messages = readMessages(body.messages);
  if ('kind' in messages) return messages;
  const maxTokens = readMaxTokens(body);
  if (typeof maxTokens !== 'number') return maxTokens;
  const promptTokens = messages.reduce((sum, { text }) => sum + estimateTokens(text), 0);
  if (promptTokens > CONTEXT_LENGTH_TOKENS) {
    const message =
      `This model's maximum context length is ${CONTEXT_LENGTH_TOKENS} tokens. ` +
      `However, your messages resulted in ${promptTokens} tokens.`;
    return badRequest(message, 'messages', 'context_length_exceeded');
  }
  return { kind: 'valid', messages, promptTokens, maxTokens, delivery: readDelivery(body) };
}
