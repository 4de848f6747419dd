// What the ending of a line is in the output or error file of its batch, in OpenAI's format. Its size is told when the record is
// made, and the file itself is made of the record when somebody reads it, therefore:
//
// 1. It depends on nothing but what the record has and on the batch, and for a given batch id its length on the record alone.
// 2. What a model server has answered stands in it to the letter. Only a line that had a RAG stage gets a last field more.
// 3. It is one line for everybody: Python's splitlines() ends lines at characters that JSON has no need to escape. They stand in
//    its strings only, and escaped they are the same strings.

import type { ServerResponse } from '../domain/record.ts';

/** The result line, as it is made or as it is stored, as far as it matters here. */
export interface ResultLine {
  readonly line: number;
  readonly custom_id: string | null;
  readonly status: string;
  readonly answer: string | null;
  readonly citations: readonly object[];
  readonly rag: object | null;
  readonly generation: { readonly model: string | null; readonly finish_reason: string | null } | null;
  readonly usage: {
    readonly prompt_tokens: number | null;
    readonly completion_tokens: number | null;
  } | null;
  readonly error: { readonly code: string; readonly message: string } | null;
}

/** The batch, as far as its lines name it. */
export interface FileBatch {
  readonly id: string;
  /** Unix seconds. */
  readonly createdAt: number;
}

/** Times of ten digits, so that a line has its length before the time is known: from 2001 to 2286. */
const SECONDS_MIN = 1_000_000_000;
const SECONDS_MAX = 9_999_999_999;

const EXPIRED = 'This request could not be executed before the completion window expired.';

const LINE_ENDS = /[\u0085\u2028\u2029]/g;

/** The line with its newline. `response`: what the model server said, of a line in OpenAI's shape. */
export function fileLine(result: ResultLine, response: ServerResponse | null, batch: FileBatch): string {
  return entryOf(result, response, batch).replace(LINE_ENDS, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function entryOf(result: ResultLine, response: ServerResponse | null, batch: FileBatch): string {
  const name = `${batch.id.replace(/^batch_/, '')}_${result.line}`;
  const head = `{"id":"batch_req_${name}","custom_id":${JSON.stringify(result.custom_id)},"response":`;
  if (result.status !== 'succeeded' && response === null) {
    return `${head}null,"error":${JSON.stringify(errorOf(result))}}\n`;
  }
  const body = bodyOf(result, response, { name, createdAt: batch.createdAt });
  const status = response?.status ?? 200;
  return `${head}{"status_code":${status},"request_id":"${name}","body":${body}},"error":null}\n`;
}

/** Its size in bytes, with the newline. */
export function fileLineBytes(result: ResultLine, response: ServerResponse | null, batchId: string): number {
  return Buffer.byteLength(fileLine(result, response, { id: batchId, createdAt: SECONDS_MIN }));
}

function bodyOf(
  result: ResultLine,
  response: ServerResponse | null,
  request: { name: string; createdAt: number },
): string {
  const { status, rag, citations } = result;
  if (status !== 'succeeded' && response !== null) return response.body;
  const body = response?.body ?? completionOf(result, request);
  return rag === null ? body : withField(body, `"ragmill":${JSON.stringify({ rag, citations })}`);
}

/** A question's answer as a chat completion. Made for every record: an object to stringify would cost twice as much. */
function completionOf(
  { answer, generation, usage }: ResultLine,
  { name, createdAt }: { name: string; createdAt: number },
): string {
  const created = Math.min(Math.max(createdAt, SECONDS_MIN), SECONDS_MAX);
  const model = JSON.stringify(generation?.model ?? '');
  const finishReason = JSON.stringify(generation?.finish_reason ?? 'stop');
  const message = `{"role":"assistant","content":${JSON.stringify(answer)}}`;
  const choice = `{"index":0,"message":${message},"logprobs":null,"finish_reason":${finishReason}}`;
  const prompt = usage?.prompt_tokens ?? 0;
  const completion = usage?.completion_tokens ?? 0;
  const counts = `"prompt_tokens":${prompt},"completion_tokens":${completion},"total_tokens":${prompt + completion}`;
  return `{"id":"chatcmpl-${name}","object":"chat.completion","created":${created},"model":${model},"choices":[${choice}],"usage":{${counts}}}`;
}

/** A JSON object with one more field at its end; all else of it stays to the letter. */
function withField(object: string, field: string): string {
  const inside = object.slice(0, object.lastIndexOf('}'));
  return `${inside}${inside.trimEnd().endsWith('{') ? '' : ','}${field}}`;
}

function errorOf({ status, error }: ResultLine): { code: string; message: string } {
  const { code, message } = error ?? { code: 'internal_error', message: 'The line has no result.' };
  if (status === 'expired') return { code: 'batch_expired', message: EXPIRED };
  return { code: status === 'cancelled' ? 'batch_cancelled' : code, message };
}
