// What the simulated model servers send, made once.

export const MODEL = 'simulated';

const WORDS = 'The answer stands in the second passage, which says so in as many words as are needed here.';
const CONTENT = WORDS.slice(0, Math.ceil(WORDS.length / 4));

/** What the usage of an answer says. */
export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
}

const event = (choices: readonly object[], more: object = {}) =>
  `data: ${JSON.stringify({ id: 'chatcmpl-0', object: 'chat.completion.chunk', model: MODEL, choices, ...more })}\n\n`;
const choice = (delta: object, finishReason: string | null = null) =>
  event([{ index: 0, delta, finish_reason: finishReason }]);
const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;

/** The head and the chunk that names the role: sent when work on a request begins. */
export const FIRST_PIECE = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n${chunk(choice({ role: 'assistant', content: '' }))}`,
);

/** These come on the way. */
export const MIDDLE_PIECE = Buffer.from(chunk(choice({ content: CONTENT })));

const ENDING = choice({ content: CONTENT }) + choice({}, 'stop');

export function lastPiece({ promptTokens, completionTokens, cachedTokens }: Usage): string {
  const usage = {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
  return `${chunk(ENDING + event([], { usage }))}${chunk('data: [DONE]\n\n')}0\r\n\r\n`;
}

const ERRORS = {
  400: jsonResponse('400 Bad Request', errorBody(400, 'the prompt cannot be used', 'BadRequestError')),
  401: jsonResponse('401 Unauthorized', errorBody(401, 'invalid API key', 'AuthenticationError')),
  404: jsonResponse('404 Not Found', { detail: 'Not Found' }),
};

export function errorResponse(status: number): Buffer {
  return status in ERRORS
    ? ERRORS[status as keyof typeof ERRORS]
    : jsonResponse(`${status} Error`, errorBody(status, 'something is wrong', 'Error'));
}

function errorBody(code: number, message: string, type: string): object {
  return { error: { object: 'error', message, type, code } };
}

/** A body that is a text goes as it is. */
export function okResponse(body: object | string): Buffer {
  return typeof body === 'string' ? response('200 OK', 'text/plain', body) : jsonResponse('200 OK', body);
}

function jsonResponse(status: string, body: object): Buffer {
  return response(status, 'application/json', JSON.stringify(body));
}

function response(status: string, type: string, body: string): Buffer {
  return Buffer.from(
    `HTTP/1.1 ${status}\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
