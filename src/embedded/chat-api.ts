// The routes of the embedded model endpoint: the part of the OpenAI API that a client of chat models needs.

import { Readable } from 'node:stream';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify';
import { type ApiProblem, MODEL_NAME, readChatRequest } from './chat-request.ts';
import { complete, streamEvents, wholeBody } from './completion.ts';
import { CONTEXT_LENGTH_TOKENS } from './tokens.ts';

/** Far above the longest prompt, so that a long one hears about its tokens, which its sender can mend, not its bytes. */
const BODY_MAX_BYTES = 16 * 1024 * 1024;

const METHODS_BY_PATH: ReadonlyMap<string, string> = new Map([
  ['/health', 'GET, HEAD'],
  ['/v1/models', 'GET, HEAD'],
  [`/v1/models/${MODEL_NAME}`, 'GET, HEAD'],
  ['/v1/chat/completions', 'POST'],
]);

function sendProblem(
  reply: FastifyReply,
  { status, message, code, param }: Omit<ApiProblem, 'kind'>,
): FastifyReply {
  const type = status >= 500 ? 'server_error' : 'invalid_request_error';
  return reply.code(status).send({ error: { message, type, param, code } });
}

function modelBody(createdAt: number): object {
  return {
    id: MODEL_NAME,
    object: 'model',
    created: createdAt,
    owned_by: 'ragmill',
    max_model_len: CONTEXT_LENGTH_TOKENS,
  };
}

function setErrorAnswers(app: FastifyInstance): void {
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const allowed = METHODS_BY_PATH.get(path);
    const problem = { code: null, param: null };
    if (allowed === undefined) {
      return sendProblem(reply, {
        ...problem,
        status: 404,
        message: `There is no route ${request.method} ${path}.`,
      });
    }
    reply.header('allow', allowed);
    return sendProblem(reply, {
      ...problem,
      status: 405,
      message: `${path} takes ${allowed}, not ${request.method}.`,
    });
  });
  app.setErrorHandler((error: FastifyError, _request, reply) => {
    const status = error.statusCode ?? 500;
    const message = status >= 500 ? 'The answer could not be made.' : error.message;
    return sendProblem(reply, { status, message, code: null, param: null });
  });
}

/** Builds the server without listening. */
export function createChatApi(): FastifyInstance {
  const app = fastify({ bodyLimit: BODY_MAX_BYTES });
  const startedAt = Math.floor(Date.now() / 1000);
  // Clients leave the content type away or get it wrong; the body can only be JSON, so any type is parsed as such.
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, parseJson);
  setErrorAnswers(app);

  app.get('/health', () => ({ status: 'ok' }));
  app.get('/v1/models', () => ({ object: 'list', data: [modelBody(startedAt)] }));
  app.get(`/v1/models/${MODEL_NAME}`, () => modelBody(startedAt));
  app.post('/v1/chat/completions', (request, reply) => {
    const chat = readChatRequest(request.body);
    if (chat.kind === 'problem') return sendProblem(reply, chat);
    const completion = complete(chat, Date.now());
    if (chat.delivery === 'whole') return reply.send(wholeBody(completion));
    const events = streamEvents(completion, chat.delivery === 'stream_with_usage');
    return reply
      .header('content-type', 'text/event-stream; charset=utf-8')
      .header('cache-control', 'no-cache')
      .send(Readable.from(events));
  });
  return app;
}
