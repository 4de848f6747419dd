// How each kind of server says that something is wrong, and the class that each sign stands for. The words are those of
// the servers, as of 2026; where a newer version says something else, both are here.

import type { FailureClass } from '../../src/domain/failure.ts';
import type { ServerKind } from '../../src/domain/server-kind.ts';
import type { Behaviour } from './fake-chat.ts';

interface KindFault {
  readonly what: string;
  readonly class: FailureClass;
  readonly behaviour: Behaviour;
}

export const KIND_FAULTS: Readonly<Record<Exclude<ServerKind, 'generic'>, readonly KindFault[]>> = {
  sglang: [
    overload('its queue is full', sglangError(503, 'The request queue is full.')),
    overload('a queue timeout', sglangError(503, 'Request queue timeout reached.')),
    overload('a higher priority', sglangError(503, 'The request is aborted by a higher priority request.')),
    overload(
      'an overload wrapped into a 500',
      sglangError(500, 'Internal server error: 503: The request queue is full.'),
    ),
    overload('it shuts down', { kind: 'status', status: 503 }),
    overload(
      'its queue is full, in a stream',
      streamError({
        object: 'error',
        message: 'The request queue is full.',
        type: 'SERVICE_UNAVAILABLE',
        code: 503,
      }),
    ),
    overload(
      'its queue is full, in a flat event',
      raw('data: {"error":"The request queue is full.","code":503}\n\n'),
    ),
    overload(
      'a limit of the routing key, in a stream',
      streamError({ message: 'Too many requests.', code: 429 }),
    ),
    overload('an abort that ends a stream', { kind: 'answer', finishReason: 'abort' }),
    overload('an abort in a document', { kind: 'answer', finishReason: 'abort', document: true }),
    overload(
      'an abort with its reason',
      finishEvent({ type: 'abort', message: 'Per-key limit.', status_code: 429 }),
    ),
    overload(
      'an abort without a status',
      finishEvent({ type: 'abort', message: 'Aborted', status_code: null }),
    ),
    refused(
      'a prompt that is too long',
      sglangError(400, "The input (9000 tokens) is longer than the model's context length (8192 tokens)."),
    ),
    refused(
      'the same in a 500',
      sglangError(
        500,
        "Internal server error: Requested token count exceeds the model's maximum context length of 8192 tokens.",
      ),
    ),
    refused(
      'the same in a stream',
      streamError({
        message: "The input is longer than the model's context length.",
        type: 'BadRequestError',
        code: 400,
      }),
    ),
    refused(
      'a bad request that ends a stream',
      finishEvent({
        type: 'abort',
        message: 'Invalid grammar.',
        status_code: 400,
        err_type: 'BadRequestError',
      }),
    ),
  ],
  vllm: [
    overload(
      'the limit of queued requests',
      vllmError(503, 'Too many queued requests.', 'ServiceUnavailableError'),
    ),
    overload(
      'the limit of queued requests, in a stream',
      streamError({ message: 'Too many queued requests.', type: 'ServiceUnavailableError', code: 503 }),
    ),
    fault(
      'hard',
      'a dead engine',
      vllmError(
        500,
        'EngineCore encountered an issue. See stack trace (above) for the root cause.',
        'InternalServerError',
      ),
    ),
    fault('hard', 'a dead engine, by its type', vllmError(500, 'See the log.', 'EngineDeadError')),
    fault(
      'hard',
      'a dead engine that calls itself unavailable',
      vllmError(503, 'EngineDeadError', 'ServiceUnavailableError'),
    ),
    fault(
      'hard',
      'a dead engine, in a stream',
      streamError({ message: 'EngineCore encountered an issue.', type: 'InternalServerError', code: 500 }),
    ),
    fault(
      'misconfigured',
      'another model',
      vllmError(404, 'The model `other` does not exist.', 'NotFoundError'),
    ),
    refused(
      'a prompt that is too long',
      vllmError(
        400,
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
        'BadRequestError',
      ),
    ),
    refused(
      'the same in a stream',
      streamError({
        message: "This model's maximum context length is 4096 tokens.",
        type: 'BadRequestError',
        code: 400,
      }),
    ),
  ],
  ollama: [
    overload(
      'its queue is full',
      ollamaError(503, 'server busy, please try again.  maximum pending requests exceeded'),
    ),
    overload(
      'a runner that is still loading',
      ollamaError(500, 'unexpected server status: llm server loading model'),
    ),
    overload(
      'a runner without a slot',
      ollamaError(500, 'unexpected server status: llm busy - no slots available'),
    ),
    fault(
      'misconfigured',
      'a model that is not installed',
      ollamaError(404, 'model "llama9" not found, try pulling it first'),
    ),
    fault(
      'misconfigured',
      'a model that does not fit',
      ollamaError(500, 'model requires more system memory (9.5 GiB) than is available (3.1 GiB)'),
    ),
    fault(
      'misconfigured',
      'a model that cannot be loaded',
      ollamaError(500, 'error loading model: unknown architecture'),
    ),
    fault(
      'misconfigured',
      'a model too large for the GPU',
      ollamaError(500, 'unable to load full model on GPU'),
    ),
    fault('ambiguous', 'a hang-up that was not ours', ollamaError(499, 'request canceled')),
    fault(
      'ambiguous',
      'a runner that died',
      ollamaError(500, 'llama runner process has terminated: exit status 2'),
    ),
    fault(
      'ambiguous',
      'a runner that did not start',
      ollamaError(500, 'timed out waiting for llama runner to start - progress 0.00 - '),
    ),
    fault(
      'ambiguous',
      'a stream that just ends',
      raw('data: {"choices":[{"index":0,"delta":{"content":"Zü"}}]}\n\n'),
    ),
    refused(
      'a prompt that is too long',
      ollamaError(400, 'the prompt is longer than the context length currently available to the model'),
    ),
    refused('the same in a 500', ollamaError(500, 'the input length exceeds the context length')),
  ],
  llamacpp: [
    overload('a model that is loading', llamacppError(503, 'Loading model', 'unavailable_error')),
    overload('no slot', llamacppError(503, 'no slot available', 'unavailable_error')),
    refused(
      'a prompt that is too long',
      llamacppError(400, 'the request exceeds the available context size', 'exceed_context_size_error'),
    ),
    refused(
      'the same in a stream',
      streamError({
        code: 400,
        message: 'the request exceeds the available context size',
        type: 'exceed_context_size_error',
      }),
    ),
    refused(
      'the same in a field "error"',
      raw(
        'error: {"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}\n\n',
      ),
    ),
    refused(
      'the same, wrapped into a 500',
      llamacppError(
        500,
        'the request exceeds the available context size. try increasing the context size',
        'server_error',
      ),
    ),
  ],
};

function fault(failureClass: FailureClass, what: string, behaviour: Behaviour): KindFault {
  return { what, class: failureClass, behaviour };
}

function overload(what: string, behaviour: Behaviour): KindFault {
  return fault('overload', what, behaviour);
}

function refused(what: string, behaviour: Behaviour): KindFault {
  return fault('request', what, behaviour);
}

function sglangError(code: number, message: string): Behaviour {
  return { kind: 'status', status: code, body: { object: 'error', message, type: 'x', param: null, code } };
}

function vllmError(code: number, message: string, type: string): Behaviour {
  return { kind: 'status', status: code, body: { error: { message, type, param: null, code } } };
}

function ollamaError(status: number, message: string): Behaviour {
  const type = status === 400 ? 'invalid_request_error' : status === 404 ? 'not_found_error' : 'api_error';
  return { kind: 'status', status, body: { error: { message, type, param: null, code: null } } };
}

function llamacppError(code: number, message: string, type: string): Behaviour {
  return { kind: 'status', status: code, body: { error: { code, message, type } } };
}

function streamError(error: object): Behaviour {
  return raw(`data: ${JSON.stringify({ error })}\n\ndata: [DONE]\n\n`);
}

function finishEvent(finishReason: object): Behaviour {
  const choices = [{ index: 0, delta: {}, finish_reason: finishReason }];
  return raw(`data: ${JSON.stringify({ choices })}\n\ndata: [DONE]\n\n`);
}

function raw(text: string): Behaviour {
  return { kind: 'raw', pieces: [text] };
}
