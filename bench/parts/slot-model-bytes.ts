// What the simulated model servers send, made once.

export const MODEL = 'simulated';

const WORDS = 'The answer stands in the second passage, which says so in as many words as are needed here.';
const CONTENT = WORDS.slice(0, Math.ceil(WORDS.length / 4));
const USAGE = { prompt_tokens: 60, completion_tokens: 24, total_tokens: 84 };

const event = (choices: readonly object[], more: object = {}) =>
  `data: ${JSON.stringify({ id: 'chatcmpl-0', object: 'chat.completion.chunk', model: MODEL, choices, ...more })}\n\n`;
const choice = (delta: object, finishReason: string | null = null) =>
  event([{ index: 0, delta, finish_reason: finishReason }]);
const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;

/** The head and the chunk that names the role: sent when work on a request begins. */
export const FIRST_PIECE = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n${chunk(choice({ role: 'assistant', content: '' }))}`,
);

/** Three of these come on the way. */
export const MIDDLE_PIECE = Buffer.from(chunk(choice({ content: CONTENT })));

export const LAST_PIECE = Buffer.from(
  `${chunk(choice({ content: CONTENT }) + choice({}, 'stop') + event([], { usage: USAGE }))}${chunk('data: [DONE]\n\n')}0\r\n\r\n`,
);

export const MODELS = jsonResponse('200 OK', { object: 'list', data: [{ id: MODEL, object: 'model' }] });

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

function jsonResponse(status: string, body: object): Buffer {
  const text = JSON.stringify(body);
  return Buffer.from(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}
